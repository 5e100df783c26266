import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import { credentials, ServerCredentials, type ChannelCredentials } from '@grpc/grpc-js';
import { FerryError } from '../errors/ferry-error.js';
import { endingDeadConnections } from './dead-connection.js';

/** Paths of PEM files. */
export interface TlsFiles {
  /** The private CA that both sides trust; the system's roots are not used. */
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

interface TlsMaterial {
  readonly ca: Buffer;
  readonly cert: Buffer;
  readonly key: Buffer;
}

const readPem = async (what: string, path: string): Promise<Buffer> => {
  try {
    return await readFile(path);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new FerryError('CONFIG_MISSING', `cannot read the ${what} file ${JSON.stringify(path)}: ${why}`, {
      hint: 'make certificates with `rbdferry pki issue`, and let the daemon read them',
      cause,
    });
  }
};

/** @throws CONFIG_MISSING */
export const readMaterial = async (files: TlsFiles): Promise<TlsMaterial> => {
  const [ca, cert, key] = await Promise.all([
    readPem('CA', files.ca),
    readPem('certificate', files.cert),
    readPem('key', files.key),
  ]);
  return { ca, cert, key };
};

const contextOf = (material: TlsMaterial, files: TlsFiles) => {
  try {
    // createSecureContext takes a CA file without a certificate in it, and then trusts nobody.
    void new X509Certificate(material.ca);
    return createSecureContext({ ...material, minVersion: 'TLSv1.3' });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new FerryError(
      'CONFIG_INVALID',
      `the certificate files ${files.ca}, ${files.cert} and ${files.key} cannot be used: ${why}`,
      { hint: 'they must be PEM, and the key must belong to the certificate', cause },
    );
  }
};

/** Credentials of a server that asks every client for a certificate of the CA. @throws CONFIG_MISSING, CONFIG_INVALID */
export const serverCredentials = async (files: TlsFiles): Promise<ServerCredentials> => {
  const material = await readMaterial(files);
  contextOf(material, files);
  return ServerCredentials.createSsl(material.ca, [{ private_key: material.key, cert_chain: material.cert }], true);
};

interface ServerCredentialsInternals {
  /** Where the server that listens with them hears of new ones. */
  updateSecureContextOptions(options: Record<string, unknown>): void;
}

/**
 * Reads the files anew for a server that listens already: new connections use them, open ones stay. Nothing changes when they cannot be used.
 * This reaches into private parts of grpc-js; tls.test.ts fails when they move. @throws CONFIG_MISSING, CONFIG_INVALID
 */
export const reloadServerCredentials = async (current: ServerCredentials, files: TlsFiles): Promise<void> => {
  const { ca, cert, key } = await readMaterial(files);
  contextOf({ ca, cert, key }, files);
  // What is left out here goes back to Node's default, TLS 1.2 among it.
  const internals = current as unknown as ServerCredentialsInternals;
  internals.updateSecureContextOptions({ ca, cert: [cert], key: [key], minVersion: 'TLSv1.3' });
};

/** Credentials of a client that shows its certificate and trusts only the CA. @throws CONFIG_MISSING, CONFIG_INVALID */
export const clientCredentials = async (files: TlsFiles): Promise<ChannelCredentials> =>
  endingDeadConnections(credentials.createFromSecureContext(contextOf(await readMaterial(files), files)));
