import { randomUUID } from 'node:crypto';
import { lstat, mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { PkiError } from './pki-error.js';

/** A private key and its certificate, in PEM. */
export interface PemPair {
  readonly key: string;
  readonly certificate: string;
}

/** Where a pair is kept. */
export interface PairPaths {
  readonly keyPath: string;
  readonly certificatePath: string;
}

const KEY_MODE = 0o600;
const CERTIFICATE_MODE = 0o644;

export function pairPaths(dir: string, name: string): PairPaths {
  return { keyPath: join(dir, `${name}.key`), certificatePath: join(dir, `${name}.crt`) };
}

/**
 * Writes both files, replacing what is there. After a crash each file is the old or the new one, never half;
 * the certificate comes last, so a certificate that is there for the first time has its key.
 * @param dirMode permissions of the directory, if it has to be made
 * @throws PkiError
 */
export async function writePair(paths: PairPaths, pair: PemPair, dirMode: number): Promise<void> {
  const { keyPath, certificatePath } = paths;
  try {
    await mkdir(dirname(keyPath), { recursive: true, mode: dirMode });
    await replaceFile(keyPath, pair.key, KEY_MODE);
    await replaceFile(certificatePath, pair.certificate, CERTIFICATE_MODE);
  } catch (cause) {
    throw new PkiError(`cannot write ${JSON.stringify(keyPath)} and its certificate: ${reason(cause)}`, {
      hint: 'choose a directory that you may write to',
      cause,
    });
  }
}

/** @throws PkiError when a file cannot be read */
export async function readPem(path: string, hint: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new PkiError(`cannot read ${JSON.stringify(path)}: ${reason(cause)}`, { hint, cause });
  }
}

/** Whether anything is at the path, a dangling link included. */
export async function isTaken(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return false;
    throw new PkiError(`cannot look at ${JSON.stringify(path)}: ${reason(error)}`, {
      hint: 'check the path and its permissions',
      cause: error,
    });
  }
}

async function replaceFile(path: string, contents: string, mode: number): Promise<void> {
  const temporary = `${path}.${randomUUID()}.tmp`;
  try {
    await writeDurably(temporary, contents, mode);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await syncDirectory(dirname(path));
}

async function writeDurably(path: string, contents: string, mode: number): Promise<void> {
  const file = await open(path, 'wx', mode);
  try {
    await file.chmod(mode); // whatever the umask took away
    await file.writeFile(contents);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function errorCode(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}
