import { createCipheriv, createHash } from 'node:crypto';
import { pipeline } from 'node:stream/promises';
import { execa } from 'execa';
import { CEPH_PROGRAM, commandError } from './command.js';
import type { Cluster, RbdOptions } from './cluster.js';

/** One change of an image's content: bytes, or a range that is zeroed (discarded where possible). */
export type ImageWrite =
  { readonly offset: number; readonly data: Uint8Array } | { readonly offset: number; readonly zero: number };

const EXPORT_TIMEOUT_MS = 600_000;

/**
 * SHA-256, in hex, of the whole content of `pool/image` or `pool/image@snap`, holes as zeroes.
 * Streams: memory stays small. The deadline is ten minutes unless given.
 * @throws ClusterError
 */
export async function sha256OfExport(
  cluster: Cluster,
  spec: string,
  { user, timeoutMs = EXPORT_TIMEOUT_MS, signal }: Omit<RbdOptions, 'input'> = {},
): Promise<string> {
  const args = [...cluster.connectArgs(user), 'export', '--no-progress', spec, '-'];
  const rbd = execa('rbd', args, {
    ...CEPH_PROGRAM,
    reject: false,
    encoding: 'buffer',
    buffer: { stdout: false, stderr: true },
    stdin: 'ignore',
    timeout: timeoutMs,
    ...(signal !== undefined && { cancelSignal: signal }),
  });
  const hash = createHash('sha256');
  // A broken pipe is only the echo of a failed rbd, whose own message follows.
  const [result] = await Promise.all([rbd, pipeline(rbd.stdout, hash).catch(() => undefined)]);
  if (result.failed) {
    throw commandError(result, { timeoutMs, signal });
  }
  return hash.digest('hex');
}

/** Writes `data` at `offset` (bytes) into the head of `pool/image`. @throws ClusterError */
export async function writeAt(
  cluster: Cluster,
  imageSpec: string,
  offset: number,
  data: Uint8Array,
  options?: Omit<RbdOptions, 'input'>,
): Promise<void> {
  await applyWrites(cluster, imageSpec, [{ offset, data }], options);
}

/** What import-diff looks for zeros in: larger than any data with zeros in it, so that these are written and not discarded. */
const SPARSE_SIZE = '64M';

/**
 * Applies the changes in order to the head of `pool/image`, with one `rbd import-diff`: arbitrary
 * offsets and lengths, no kernel client. The image's size must hold them.
 * @throws ClusterError
 */
export async function applyWrites(
  cluster: Cluster,
  imageSpec: string,
  writes: readonly ImageWrite[],
  options: Omit<RbdOptions, 'input'> = {},
): Promise<void> {
  const input = encodeDiff(writes);
  await cluster.rbd(['import-diff', '--no-progress', '--sparse-size', SPARSE_SIZE, '-', imageSpec], {
    ...options,
    input,
  });
}

/**
 * `length` bytes that look random and are the same for the same seed, on every machine. A longer
 * request begins with the bytes of a shorter one.
 */
export function randomBytes(seed: string | number, length: number): Buffer {
  const key = createHash('sha256').update(String(seed)).digest().subarray(0, 16);
  // AES in counter mode over zeroes: more than 1 GB/s, where a PRNG in JavaScript is ten times slower.
  return createCipheriv('aes-128-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(length));
}

/** An rbd diff v1 stream without names and size, which import-diff applies to the head as it is. */
function encodeDiff(writes: readonly ImageWrite[]): Buffer {
  const records = writes.flatMap((write) =>
    'data' in write
      ? [record('w', write.offset, write.data.length), write.data]
      : [record('z', write.offset, write.zero)],
  );
  return Buffer.concat([Buffer.from('rbd diff v1\n'), ...records, Buffer.from('e')]);
}

function record(tag: 'w' | 'z', offset: number, length: number): Buffer {
  const header = Buffer.alloc(17);
  header.write(tag, 'latin1');
  header.writeBigUInt64LE(BigInt(offset), 1);
  header.writeBigUInt64LE(BigInt(length), 9);
  return header;
}
