import { loadAuthority, type Authority } from './authority.js';
import { requireCertificateName, subjectHosts, type SubjectHost } from './certificate-names.js';
import { isTaken, pairPaths, writePair, type PairPaths } from './certificate-files.js';
import { PkiError } from './pki-error.js';
import { readCertificate } from './read-certificate.js';
import {
  certificateToPem,
  generateKeys,
  keyToPem,
  randomSerial,
  SIGNATURE_ALGORITHM,
  subjectName,
  validity,
  x509,
  type CryptoKey,
  type Validity,
} from './x509.js';

export interface IssueCertificateOptions {
  /** The authority's directory. */
  readonly dir: string;
  /** The common name, by which a receiver knows its clients, and the files' name. */
  readonly name: string;
  /**
   * DNS names and IP addresses under which clients reach the bearer. The name itself is added if it can be a
   * host's. Empty or left out: those of the certificate that is replaced, or else `localhost`, `127.0.0.1` and `::1`, which suits
   * clients and a trial on one machine.
   */
  readonly hosts?: readonly string[];
  /** 825 when left out; a certificate ends with its authority at the latest. */
  readonly days?: number;
  /** Where `NAME.crt` and `NAME.key` are put; the authority's directory when left out. */
  readonly outDir?: string;
  /** Allows to replace a certificate of this name, for a renewal. */
  readonly replace?: boolean;
  readonly now?: () => Date;
}

export interface IssuedCertificate extends PairPaths {
  /** What the certificate is good for as a server. */
  readonly hosts: readonly string[];
  readonly notAfter: Date;
}

interface Subject {
  readonly name: string;
  readonly hosts: readonly SubjectHost[];
  readonly period: Validity;
}

const DEFAULT_DAYS = 825;
const OWNER_WRITES = 0o755;

/**
 * Makes a key and a certificate that serves as a server's and as a client's.
 * @throws PkiError
 */
export async function issueCertificate(options: IssueCertificateOptions): Promise<IssuedCertificate> {
  const { dir, name, days = DEFAULT_DAYS, outDir = dir, replace = false, now = () => new Date() } = options;
  requireCertificateName(name);
  const paths = pairPaths(outDir, name);
  if (!replace) await requireFree(paths.certificatePath);
  const hosts = options.hosts?.length ? options.hosts : await hostsReplaced(paths.certificatePath);
  const subject = { name, hosts: subjectHosts(name, hosts), period: validity(now(), days) };
  const authority = await loadAuthority(dir, now());
  const period = endWithAuthority(subject.period, authority);
  const keys = await generateKeys();
  const certificate = await signCertificate(authority, { ...subject, period }, keys.publicKey);
  await writePair(
    paths,
    { key: await keyToPem(keys.privateKey), certificate: certificateToPem(certificate) },
    OWNER_WRITES,
  );
  return { ...paths, hosts: subject.hosts.map(({ value }) => value), notAfter: period.notAfter };
}

async function signCertificate(
  authority: Authority,
  subject: Subject,
  publicKey: CryptoKey,
): Promise<x509.X509Certificate> {
  return x509.X509CertificateGenerator.create({
    ...subject.period,
    serialNumber: randomSerial(),
    subject: subjectName(subject.name),
    issuer: authority.certificate.subjectName,
    publicKey,
    signingKey: authority.key,
    signingAlgorithm: SIGNATURE_ALGORITHM,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
      new x509.SubjectAlternativeNameExtension(subject.hosts.map(({ kind, value }) => ({ type: kind, value }))),
      await x509.SubjectKeyIdentifierExtension.create(publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(authority.certificate.publicKey),
    ],
  });
}

/** A renewal that dropped them would shut out every client of the bearer. */
async function hostsReplaced(path: string): Promise<readonly string[]> {
  return (await isTaken(path)) ? (await readCertificate(path)).hosts : [];
}

async function requireFree(path: string): Promise<void> {
  if (await isTaken(path))
    throw new PkiError(`there is a certificate already: ${JSON.stringify(path)}`, {
      hint: 'choose another name or directory, or ask for it to be replaced',
    });
}

function endWithAuthority(period: Validity, { certificate }: Authority): Validity {
  return certificate.notAfter < period.notAfter ? { ...period, notAfter: certificate.notAfter } : period;
}
