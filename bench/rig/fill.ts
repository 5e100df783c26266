import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { execa } from 'execa';
import { contentOf, type Extent, type Filling } from './content.js';
import { cleanEnvironment, rbdWords, type Site } from './site.js';

const header = (tag: 'w', { offset, length }: Extent): Buffer => {
  const record = Buffer.alloc(17);
  record.write(tag, 'latin1');
  record.writeBigUInt64LE(BigInt(offset), 1);
  record.writeBigUInt64LE(BigInt(length), 9);
  return record;
};

function* diffOf(extents: readonly Extent[], filling: Filling, seed: string): Generator<Buffer, void, undefined> {
  yield Buffer.from('rbd diff v1\n');
  for (const extent of extents) {
    yield header('w', extent);
    yield contentOf(filling, `${seed} ${extent.offset}`, extent.length);
  }
  yield Buffer.from('e');
}

/** Writes the extents into the head of an image, as a diff without names. @throws after five minutes, or when it fails */
export const fill = async (
  site: Site,
  image: string,
  what: { readonly extents: readonly Extent[]; readonly filling: Filling; readonly seed: string },
): Promise<void> => {
  const [program = 'rbd', ...args] = rbdWords(site, 'agent', [
    'import-diff',
    '--no-progress',
    '--sparse-size=64M',
    '-',
    image,
  ]);
  const child = execa(program, args, { env: cleanEnvironment, extendEnv: false, stdin: 'pipe', timeout: 300_000 });
  await Promise.all([
    child,
    pipeline(Readable.from(diffOf(what.extents, what.filling, what.seed), { objectMode: false }), child.stdin),
  ]);
};
