import { createPrivateKey, webcrypto, X509Certificate } from 'node:crypto';
import { requireCommonName } from './certificate-names.js';
import { isTaken, pairPaths, readPem, writePair, type PairPaths } from './certificate-files.js';
import { PkiError } from './pki-error.js';
import {
  certificateToPem,
  generateKeys,
  KEY_ALGORITHM,
  keyToPem,
  randomSerial,
  SIGNATURE_ALGORITHM,
  subjectName,
  validity,
  x509,
  type CryptoKey,
} from './x509.js';

export interface InitCaOptions {
  /** Where `ca.crt` and `ca.key` are put; made, for its owner alone, if it is missing. */
  readonly dir: string;
  /** `rbdferry CA` when left out. */
  readonly commonName?: string;
  /** 3650 when left out. */
  readonly days?: number;
  readonly now?: () => Date;
}

export interface CreatedCa extends PairPaths {
  readonly notAfter: Date;
}

/** An authority that can sign. */
export interface Authority {
  readonly certificate: x509.X509Certificate;
  readonly key: CryptoKey;
}

const DEFAULT_COMMON_NAME = 'rbdferry CA';
const DEFAULT_DAYS = 3650;
const OWNER_ONLY = 0o700;

/**
 * Makes a private certificate authority, which signs certificates of daemons but no further authorities.
 * @throws PkiError, also when the directory holds a CA, or half of one, already
 */
export async function initCa(options: InitCaOptions): Promise<CreatedCa> {
  const { dir, commonName = DEFAULT_COMMON_NAME, days = DEFAULT_DAYS, now = () => new Date() } = options;
  requireCommonName(commonName);
  const period = validity(now(), days);
  const paths = pairPaths(dir, 'ca');
  await requireNoCa(paths);
  const keys = await generateKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    ...period,
    serialNumber: randomSerial(),
    name: subjectName(commonName),
    keys,
    signingAlgorithm: SIGNATURE_ALGORITHM,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  await writePair(
    paths,
    { key: await keyToPem(keys.privateKey), certificate: certificateToPem(certificate) },
    OWNER_ONLY,
  );
  return { ...paths, notAfter: period.notAfter };
}

/**
 * Reads the authority of a directory.
 * @throws PkiError when it is missing, unreadable, has ended, or its two files do not belong together
 */
export async function loadAuthority(dir: string, now: Date): Promise<Authority> {
  const paths = pairPaths(dir, 'ca');
  const hint = 'make an authority with `rbdferry pki init`, or name the directory that holds ca.crt and ca.key';
  const certificatePem = await readPem(paths.certificatePath, hint);
  const keyPem = await readPem(paths.keyPath, hint);
  requireUsablePair(paths, certificatePem, keyPem);
  const certificate = new x509.X509Certificate(certificatePem);
  if (certificate.notAfter <= now)
    throw new PkiError(
      `the authority ${JSON.stringify(paths.certificatePath)} ended on ${certificate.notAfter.toISOString()}`,
      {
        hint: 'make a new authority in another directory, and issue all certificates anew',
      },
    );
  return { certificate, key: await importKey(keyPem) };
}

async function requireNoCa({ certificatePath, keyPath }: PairPaths): Promise<void> {
  for (const path of [certificatePath, keyPath])
    if (await isTaken(path))
      throw new PkiError(`there is a certificate authority already: ${JSON.stringify(path)}`, {
        hint: 'use it, or choose another directory; a lone ca.key that never signed anything is of an interrupted run, remove it',
      });
}

function requireUsablePair(paths: PairPaths, certificatePem: string, keyPem: string): void {
  const problem = pairProblem(certificatePem, keyPem);
  if (problem !== undefined)
    throw new PkiError(`the authority ${JSON.stringify(paths.certificatePath)} cannot be used: ${problem.message}`, {
      hint: 'put back the ca.crt and ca.key that `rbdferry pki init` made together',
      cause: problem.cause,
    });
}

function pairProblem(
  certificatePem: string,
  keyPem: string,
): { readonly message: string; readonly cause?: unknown } | undefined {
  try {
    const certificate = new X509Certificate(certificatePem);
    const key = createPrivateKey(keyPem);
    if (!certificate.ca) return { message: 'its certificate is not that of an authority' };
    if (key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') return { message: 'its key is not an ECDSA P-256 key' };
    return certificate.checkPrivateKey(key) ? undefined : { message: 'its key does not belong to its certificate' };
  } catch (cause) {
    return { message: cause instanceof Error ? cause.message : String(cause), cause };
  }
}

async function importKey(pem: string): Promise<CryptoKey> {
  const der = createPrivateKey(pem).export({ type: 'pkcs8', format: 'der' });
  return webcrypto.subtle.importKey('pkcs8', der, KEY_ALGORITHM, false, ['sign']);
}
