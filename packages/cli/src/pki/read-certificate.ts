import { X509Certificate } from 'node:crypto';
import { isIPv6 } from 'node:net';
import { readPem } from './certificate-files.js';
import { PkiError } from './pki-error.js';

/** What a certificate says of itself. */
export interface CertificateFacts {
  readonly path: string;
  /** Its common name. */
  readonly name: string;
  /** In hex. */
  readonly serial: string;
  /** SHA-256, as `clients.NAME.certificates` of a receiver takes it. */
  readonly fingerprint: string;
  /** DNS names and IP addresses that it is good for as a server. */
  readonly hosts: readonly string[];
  readonly notAfter: Date;
  /** Whole days; negative when it has ended. */
  readonly daysLeft: number;
}

const dayMs = 86_400_000;

/** @throws PkiError when the file cannot be read or holds no certificate */
export async function readCertificate(path: string, now: Date = new Date()): Promise<CertificateFacts> {
  const certificate = parse(
    path,
    await readPem(path, 'name a certificate file, or one of the directory given with --dir'),
  );
  const notAfter = new Date(certificate.validTo);
  return {
    path,
    name: /^CN=(.*)$/m.exec(certificate.subject)?.[1] ?? '',
    serial: certificate.serialNumber,
    fingerprint: certificate.fingerprint256,
    hosts: hostsOf(certificate.subjectAltName ?? ''),
    notAfter,
    daysLeft: Math.floor((notAfter.getTime() - now.getTime()) / dayMs),
  };
}

function parse(path: string, pem: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (cause) {
    throw new PkiError(`${JSON.stringify(path)} holds no certificate in PEM`, {
      hint: 'a certificate file begins with "-----BEGIN CERTIFICATE-----"',
      cause,
    });
  }
}

/** As one writes it: `::1`, not `0:0:0:0:0:0:0:1`. */
const shortened = (address: string): string => new URL(`http://[${address}]`).hostname.slice(1, -1);

/** Node prints `DNS:name, IP Address:address`. */
function hostsOf(text: string): string[] {
  return text.split(', ').flatMap((entry) => {
    const host = /^(?:DNS|IP Address):(.+)$/.exec(entry)?.[1];
    return host === undefined ? [] : [isIPv6(host) ? shortened(host) : host.toLowerCase()];
  });
}
