// The order matters: @peculiar/x509 looks for the metadata API while it loads.
import 'reflect-metadata';
import * as x509 from '@peculiar/x509';
import { randomBytes, webcrypto } from 'node:crypto';
import { PkiError } from './pki-error.js';

export { x509 };

export type CryptoKey = webcrypto.CryptoKey;

/** The one kind of key this authority makes and uses. */
export const KEY_ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256' } as const;
export const SIGNATURE_ALGORITHM = { name: 'ECDSA', hash: 'SHA-256' } as const;

export interface Validity {
  readonly notBefore: Date;
  readonly notAfter: Date;
}

const DAY_MS = 86_400_000;
/** How far back a certificate's time begins, for machines whose clocks are behind. */
const CLOCK_SKEW_MS = 3_600_000;
const MAX_DAYS = 36_500;

export async function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(KEY_ALGORITHM, true, ['sign', 'verify']);
}

export async function keyToPem(key: CryptoKey): Promise<string> {
  const der = await webcrypto.subtle.exportKey('pkcs8', key);
  return `${x509.PemConverter.encode(der, x509.PemConverter.PrivateKeyTag)}\n`;
}

export function certificateToPem(certificate: x509.X509Certificate): string {
  return `${certificate.toString('pem')}\n`;
}

/** A subject that is this common name and nothing else. */
export function subjectName(commonName: string): x509.Name {
  // A plain string would be parsed: of one that holds quotes, only what is between them would be kept.
  return new x509.Name([{ CN: [{ utf8String: commonName }] }]);
}

/** A random positive integer of 16 bytes, in hex. */
export function randomSerial(): string {
  const bytes = randomBytes(16);
  // The first bit is the sign, and a first byte of zero would be cut off: fix both, keeping the length.
  bytes.writeUInt8((bytes.readUInt8(0) & 0x7f) | 0x40, 0);
  return bytes.toString('hex');
}

/** @throws PkiError for a number of days that no certificate should have */
export function validity(now: Date, days: number): Validity {
  if (!Number.isInteger(days) || days < 1 || days > MAX_DAYS)
    throw new PkiError(`a validity of ${days} days is not possible`, {
      hint: `give a whole number from 1 to ${MAX_DAYS}`,
    });
  return { notBefore: new Date(now.getTime() - CLOCK_SKEW_MS), notAfter: new Date(now.getTime() + days * DAY_MS) };
}
