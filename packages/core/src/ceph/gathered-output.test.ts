import { createHash } from 'node:crypto';
import { PassThrough, Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { Lease } from '../transfer/lease.js';
import { startChild } from './child.js';
import { GatheredOutput } from './gathered-output.js';

const size = 1024 * 1024;
const node = (script: string) =>
  startChild({ program: process.execPath, args: ['-e', script] }, { input: false, killGraceMs: 1000 });

const collect = async (output: GatheredOutput, betweenMs = 0): Promise<Buffer[]> => {
  const parts: Buffer[] = [];
  for await (const part of output) {
    parts.push(part.bytes);
    if (betweenMs > 0) await sleep(betweenMs);
  }
  return parts;
};

const sha256 = (parts: readonly Uint8Array[]): string => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
};

/** Prints `total` bytes that differ everywhere, in pieces of `piece`, waiting between them. */
const printing = (total: number, piece: number, waitMs: number): string => `
  const data = Buffer.alloc(${total}); let x = 1;
  for (let i = 0; i < data.length; i += 1) { x = (x * 1103515245 + 12345) & 0x7fffffff; data[i] = x >> 16; }
  process.stderr.write(require('crypto').createHash('sha256').update(data).digest('hex'));
  (async () => { for (let at = 0; at < data.length; at += ${piece}) {
    if (!process.stdout.write(data.subarray(at, at + ${piece}))) await new Promise((r) => process.stdout.once('drain', r));
    if (${waitMs}) await new Promise((r) => setTimeout(r, ${waitMs})); } })();`;

describe.each([
  ['a real pipe, read straight into the buffers', false],
  ['a stream without a handle, chunk by chunk', true],
])('%s', (_, chunks) => {
  const outputOf = (stdout: Readable): GatheredOutput =>
    new GatheredOutput(chunks ? Readable.from(stdout, { objectMode: false }) : stdout, size);

  it.each([
    ['nothing', 0, 1, 0, 0],
    ['less than a buffer', 1000, 1000, 0, 0],
    ['many buffers', 20 * size + 12_345, 300_000, 0, 0],
    ['small pieces', 3 * size, 7_777, 0, 0],
    ['a trickle, which reaches the reader before a buffer is full', 3_000, 500, 150, 0],
    ['a slow reader', 6 * size + 1, 1_000_000, 0, 60],
  ])('gives %s, byte for byte', async (_, total, piece, waitMs, betweenMs) => {
    const child = node(printing(total, piece, waitMs));
    const parts = await collect(outputOf(child.stdout), betweenMs);
    const end = await child.ended;
    expect(end).toMatchObject({ exitCode: 0 });
    expect(parts.reduce((sum, part) => sum + part.length, 0)).toBe(total);
    expect(sha256(parts)).toBe(end.stderr);
    for (const part of parts) expect(part.length).toBeLessThanOrEqual(size);
    if (waitMs > 0) expect(parts.length).toBeGreaterThan(1);
  });

  it('never touches a buffer again that the reader has', async () => {
    const child = node(printing(5 * size, 400, 0));
    const seen: { part: Buffer; hash: string }[] = [];
    for await (const part of outputOf(child.stdout)) seen.push({ part: part.bytes, hash: sha256([part.bytes]) });
    await child.ended;
    expect(seen.map(({ part }) => sha256([part]))).toEqual(seen.map(({ hash }) => hash));
  });

  it('lets the child wait while nobody reads', async () => {
    const child = node(`process.stdout.write(Buffer.alloc(${40 * size}), () => process.stderr.write('all'))`);
    const iterator = outputOf(child.stdout)[Symbol.asyncIterator]();
    const first = await iterator.next();
    await sleep(300);
    expect(first.done).toBe(false);
    let total = first.done === true ? 0 : first.value.bytes.length;
    for (let next = await iterator.next(); next.done !== true; next = await iterator.next())
      total += next.value.bytes.length;
    expect(total).toBe(40 * size);
    await child.ended;
  });
});

it('does not go on filling a buffer that the reader had and gave back, nearly full as it was', async () => {
  const output = new PassThrough();
  output.write(Buffer.alloc(size - 1000, 1));
  const parts: Buffer[] = [];
  for await (const part of new GatheredOutput(output, size)) {
    parts.push(Buffer.from(part.bytes));
    part.release();
    if (parts.length > 1) continue;
    const other = Lease.take(size).bytes.fill(7);
    output.end(Buffer.alloc(2000, 2));
    await sleep(20);
    expect(other.every((byte) => byte === 7)).toBe(true);
  }
  expect(sha256(parts)).toBe(sha256([Buffer.alloc(size - 1000, 1), Buffer.alloc(2000, 2)]));
});

it('reads straight into its buffers on this Node', async () => {
  // When a Node to come has no such handle, transfers still work, at several times the cost: look at GatheredOutput.
  const child = node('');
  expect(Reflect.get(child.stdout, '_handle')).toHaveProperty('useUserBuffer');
  child.stdout.resume();
  await child.ended;
});
