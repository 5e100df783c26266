import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * In the place of `rbd` where its speed is to be ours. `export BYTES --snap=NAME...` prints a full diff of an image whose
 * BYTES are all written, none of them zero, as fast as they are taken. `import BYTES_PER_SECOND STOP_AFTER_BYTES` reads no faster than
 * that and, after so many bytes, not at all. Neither ends well: the benchmark gives up before.
 */
const [verb, ...args] = process.argv.slice(2);

const recordBytes = 4 * 1024 * 1024;

const header = (tag: string, ...numbers: readonly bigint[]): Buffer => {
  const record = Buffer.alloc(1 + numbers.length * 8, tag, 'latin1');
  for (const [index, number] of numbers.entries()) record.writeBigUInt64LE(number, 1 + index * 8);
  return record;
};

const print = async (data: Uint8Array): Promise<void> => {
  if (!process.stdout.write(data)) await once(process.stdout, 'drain');
};

const exportAll = async (bytes: number, snap: string): Promise<void> => {
  const name = Buffer.alloc(5, 't', 'latin1');
  name.writeUInt32LE(Buffer.byteLength(snap), 1);
  await print(Buffer.concat([Buffer.from('rbd diff v1\n'), name, Buffer.from(snap), header('s', BigInt(bytes))]));
  const content = Buffer.alloc(recordBytes, 1);
  for (let at = 0; at < bytes; at += recordBytes) {
    await print(header('w', BigInt(at), BigInt(recordBytes)));
    await print(content);
  }
  await print(Buffer.from('e'));
};

const importSlowly = async (bytesPerSecond: number, stopAfter: number): Promise<void> => {
  const begin = performance.now();
  let taken = 0;
  process.stdin.once('end', () => process.exit(74));
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    taken += chunk.length;
    const early = (taken / bytesPerSecond) * 1000 - (performance.now() - begin);
    if (early > 0) await sleep(early);
    if (taken >= stopAfter) await sleep(600_000);
  }
};

const snapIn = (words: readonly string[]): string =>
  words.find((word) => word.startsWith('--snap='))?.slice('--snap='.length) ?? '';

if (verb === 'export') await exportAll(Number(args[0]), snapIn(args));
else await importSlowly(Number(args[0]), Number(args[1]));
