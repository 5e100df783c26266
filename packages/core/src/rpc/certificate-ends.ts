import { X509Certificate } from 'node:crypto';
import { FerryError } from '../errors/ferry-error.js';
import { readMaterial, type TlsFiles } from './tls.js';

/** How long a certificate is good. */
export interface CertificateEnd {
  /** The daemon's own one, or the CA's. */
  readonly certificate: 'own' | 'ca';
  readonly path: string;
  /** Milliseconds since 1970. */
  readonly endsAtMs: number;
}

const hints = {
  own: 'renew it with `rbdferry pki issue NAME --replace`, and reload the daemon',
  ca: 'a CA is not renewed: make a new one with `rbdferry pki init` and issue all certificates anew',
} as const;

export const hintFor = ({ certificate }: CertificateEnd): string => hints[certificate];

/**
 * How long the certificates in these files are good. Of several in the CA file, as while one CA follows another, that which made our own
 * one counts, or else the one that lasts longest. @throws CONFIG_MISSING, CONFIG_INVALID
 */
export const certificateEnds = async (files: TlsFiles): Promise<CertificateEnd[]> => {
  const { ca, cert } = await readMaterial(files);
  try {
    const own = new X509Certificate(cert);
    const trusted = certificatesIn(ca);
    const issuers = trusted.filter((each) => own.checkIssued(each) && own.verify(each.publicKey));
    const caEndsAtMs = Math.max(...(issuers.length > 0 ? issuers : trusted).map(endOf));
    return [
      { certificate: 'own', path: files.cert, endsAtMs: endOf(own) },
      { certificate: 'ca', path: files.ca, endsAtMs: caEndsAtMs },
    ];
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new FerryError(
      'CONFIG_INVALID',
      `the certificate files ${files.ca} and ${files.cert} cannot be read: ${why}`,
      {
        hint: 'they must be PEM',
        cause,
      },
    );
  }
};

const certificatesIn = (pem: Buffer): X509Certificate[] => {
  const blocks = pem.toString('latin1').match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g);
  return (blocks ?? [pem]).map((block) => new X509Certificate(block));
};

const endOf = ({ validTo }: X509Certificate): number => Date.parse(validTo);
