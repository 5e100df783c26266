import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TransferStage, type Job } from '@rbdferry/core/gen/rbdferry/v1/control.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCommand } from '../ceph/command.js';
import { applyWrites, randomBytes, sha256OfExport } from '../ceph/cluster.js';
import { Control, hasEnded, stateOf } from '../harness/control.js';
import { damagedRbd, type DamagedRbd } from '../harness/damaged-rbd.js';
import { startPair, type Pair } from '../harness/pair.js';
import { expectError } from '../harness/expect-error.js';
import { imageNames, snapNames } from '../harness/look.js';

/** What only Ceph itself can show of images and streams, and one chain on it. All else: test/house. */

const MiB = 1024 * 1024;
const idPattern =
  /^rbd2\/[\w.-]+\.\d{4}-\d\d-\d\d\.\d\d:\d\d:\d\d\.\d{6}\.bkp\.image@\d{4}-\d\d-\d\d\.\d\d:\d\d:\d\d\.\d{6}\.snap$/;

let pair: Pair;
let rbd: DamagedRbd;
let binDir: string;
let control: Control;

beforeAll(async () => {
  binDir = await mkdtemp(join(tmpdir(), 'rbdferry-slow-'));
  rbd = await damagedRbd(binDir);
  pair = await startPair({ name: 'e2e', env: rbd.env });
  control = new Control(pair.socket);
});

afterAll(async () => {
  control?.close();
  await pair?.stop();
  await rm(binDir, { recursive: true, force: true });
});

const create = (image: string, ...args: string[]) => pair.source.rbd(['create', image, ...args], { user: 'agent' });
const remove = async (image: string) => {
  await pair.source.rbd(['snap', 'purge', image]);
  await pair.source.rbd(['rm', image]);
};
const backupOf = (id: string) => sha256OfExport(pair.backup, id);
const chainOf = (id: string): string => id.slice(0, id.indexOf('@'));
const snapOf = (id: string): string => id.slice(id.indexOf('@') + 1);
const sourceAt = (image: string, id: string) => sha256OfExport(pair.source, `${image}@${snapOf(id)}`);

const sha256OfFile = async (path: string): Promise<string> => {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest('hex');
};

const ended = ({ id }: Job) => control.until(id, hasEnded);

/** Backs up without a process for it. */
const backUp = async (image: string): Promise<string> => {
  const job = await ended(await control.startBackup(image));
  expect(stateOf(job)).toBe('committed');
  return job.backupId;
};

describe('a chain of one full and three increments', () => {
  const image = 'rbd/chain';
  const ids: string[] = [];
  const hashes: string[] = [];

  /** Backs up and keeps what the source's snapshot looked like. */
  const backup = async (...args: string[]) => {
    const id = await pair.ok('backup', image, ...args);
    expect(id).toMatch(idPattern);
    ids.push(id);
    hashes.push(await sourceAt(image, id));
    expect(await backupOf(id)).toBe(hashes.at(-1));
    expect(await snapNames(pair.source, image)).toEqual([snapOf(id)]);
    return id;
  };

  it('is backed up and listed: full; small writes, discards and written zeros; grow; shrink; grow again', async () => {
    await create(image, '--size', '64M');
    await applyWrites(pair.source, image, [
      { offset: 0, data: randomBytes('full', 9 * MiB) },
      { offset: 40 * MiB + 512, data: randomBytes('tail', 3 * MiB) },
    ]);
    await backup('--mode', 'full');
    const small = Array.from({ length: 50 }, (_, index) => ({
      offset: (index * 1_234_577) % (60 * MiB),
      data: randomBytes(`small ${index}`, 4096),
    }));
    const zeroed = [
      { offset: 4 * MiB, zero: 4 * MiB },
      { offset: 1000, zero: 5000 },
    ];
    // Zeros that are written, over data, in whole blocks and in parts of them: they are not sent.
    const withZeros = Buffer.concat([randomBytes('a', 10_000), Buffer.alloc(3 * MiB), randomBytes('b', 10_000)]);
    await applyWrites(pair.source, image, [...small, ...zeroed, { offset: 20 * MiB + 700, data: withZeros }]);
    await backup('--mode', 'incr');
    await pair.source.rbd(['resize', '--size', '96M', image]);
    await applyWrites(pair.source, image, [{ offset: 90 * MiB, data: randomBytes('grown', MiB) }]);
    await backup();
    await pair.source.rbd(['resize', '--size', '30M', '--allow-shrink', image]);
    await backup();
    await pair.source.rbd(['resize', '--size', '1G', image]);
    await backup();
    // All of it is one chain, and every point of it is still what it was.
    const chains = JSON.parse(await pair.ok('list', image, '--json')) as {
      backups: { id: string; streamBytes: number }[];
    }[];
    expect(chains.map(({ backups }) => backups.map(({ id }) => id))).toEqual([ids]);
    expect(chains[0]?.backups[1]?.streamBytes).toBeLessThan(3 * MiB);
    for (const [index, id] of ids.entries()) expect(await backupOf(id)).toBe(hashes[index]);
  });

  it('comes back as files and on stdout, sparse where a file can be', async () => {
    for (const [index, id] of ids.entries()) {
      const path = join(binDir, `${index}.raw`);
      expect(await pair.ok('restore', id, '--to-file', path)).toBe(path);
      expect(await sha256OfFile(path)).toBe(hashes[index]);
      const { size, blocks } = await stat(path);
      expect(blocks * 512).toBeLessThan(Math.min(size, 20 * MiB));
    }
    const newest = ids.at(-1) ?? '';
    const { stdout } = await runCommand('bash', [
      '-c',
      `set -o pipefail; node packages/cli/bin/rbdferry --socket '${pair.socket}' restore '${image}' --latest --to-file - | sha256sum`,
    ]);
    expect(stdout.split(' ')[0]).toBe(await sourceAt(image, newest));
  });

  it('comes back beside the image and in its place, and goes on', async () => {
    const [first = '', second = ''] = ids;
    expect(await pair.ok('restore', second, '--to', 'rbd/restored')).toBe('rbd/restored');
    expect(await sha256OfExport(pair.source, 'rbd/restored')).toBe(hashes[1]);
    expect(await pair.ok('restore', first, '--replace')).toBe(image);
    expect(await sha256OfExport(pair.source, image)).toBe(hashes[0]);
    const { stdout: trash } = await pair.source.rbd(['trash', 'ls', 'rbd']);
    expect(trash).toContain('chain');
    await applyWrites(pair.source, image, [{ offset: 12345, data: randomBytes('after', 77_777) }]);
    const next = await pair.ok('backup', image, '--mode', 'incr');
    expect(chainOf(next)).toBe(chainOf(first));
    expect(await backupOf(next)).toBe(await sourceAt(image, next));
    // What came between is untouched by the rollback to the first point.
    for (const [index, id] of ids.entries()) expect(await backupOf(id)).toBe(hashes[index]);
  });
});

describe('every kind of image comes back as it was', () => {
  /** A full and an increment on it; what both together give is restored beside the image and compared with it. */
  const roundTrip = async (image: string): Promise<string> => {
    const first = await backUp(image);
    const before = await infoOf(image);
    await applyWrites(pair.source, image, [{ offset: 100_000, data: randomBytes(`more ${image}`, 50_000) }]);
    const second = await backUp(image);
    expect(chainOf(second)).toBe(chainOf(first));
    const to = `${image}-back`;
    expect(stateOf(await ended(await control.startRestore(second, to)))).toBe('committed');
    expect(await sha256OfExport(pair.source, to)).toBe(await sourceAt(image, second));
    expect(await infoOf(to)).toEqual(before);
    return second;
  };

  const infoOf = async (image: string) => {
    const { stdout } = await pair.source.rbd(['info', '--format', 'json', image]);
    const { size, object_size, stripe_unit, stripe_count, features, data_pool } = JSON.parse(stdout) as Record<
      string,
      unknown
    >;
    return { size, object_size, stripe_unit, stripe_count, features, data_pool };
  };

  it.each([
    [
      'small objects, few features, a size that is no whole number of objects',
      'rbd/odd',
      ['--size', '10000000B', '--object-size', '64K', '--image-feature', 'layering'],
    ],
    ['large objects', 'rbd/large', ['--size', '80M', '--object-size', '32M']],
    ['striping', 'rbd/striped', ['--size', '40M', '--stripe-unit', '64K', '--stripe-count', '4']],
  ])('%s', async (_, image, args) => {
    await create(image, ...args);
    await applyWrites(
      pair.source,
      image,
      Array.from({ length: 30 }, (_, index) => ({
        offset: (index * 777_777) % (7 * MiB),
        data: randomBytes(`${image} ${index}`, 70_000),
      })),
    );
    await roundTrip(image);
  });

  it('a clone, with its parent’s data', async () => {
    await create('rbd/parent', '--size', '16M');
    await applyWrites(pair.source, 'rbd/parent', [{ offset: MiB, data: randomBytes('parent', 2 * MiB) }]);
    await pair.source.rbd(['snap', 'create', 'rbd/parent@base']);
    await pair.source.rbd(['snap', 'protect', 'rbd/parent@base']);
    await pair.source.rbd(['clone', 'rbd/parent@base', 'rbd/clone']);
    await applyWrites(pair.source, 'rbd/clone', [{ offset: 2 * MiB, data: randomBytes('clone', MiB) }]);
    await roundTrip('rbd/clone');
  });

  it('an image in a namespace', async () => {
    await pair.source.rbd(['namespace', 'create', 'rbd/tenant']);
    await create('rbd/tenant/vm', '--size', '16M');
    await applyWrites(pair.source, 'rbd/tenant/vm', [{ offset: 0, data: randomBytes('tenant', MiB) }]);
    await roundTrip('rbd/tenant/vm');
  });

  it('an image with a name that needs quotes: backup, increment, restore, replace, delete', async () => {
    const image = 'rbd/vm (1) "ä" #2';
    await create(image, '--size', '8M');
    await applyWrites(pair.source, image, [{ offset: 0, data: randomBytes('quotes', MiB) }]);
    const second = await roundTrip(image);
    expect(await pair.ok('restore', second, '--replace')).toBe(image);
    expect(await sha256OfExport(pair.source, image)).toBe(await backupOf(second));
    await pair.ok('delete', image, '--keep-last', '1');
    expect(await snapNames(pair.backup, chainOf(second))).toEqual([snapOf(second)]);
  });

  it('an image whose data lies in another pool, and a stated refusal when that pool is gone', async () => {
    await pair.source.createPool('fast');
    await create('rbd/split', '--size', '16M', '--data-pool', 'fast');
    await applyWrites(pair.source, 'rbd/split', [{ offset: 0, data: randomBytes('split', MiB) }]);
    const id = await roundTrip('rbd/split');
    await remove('rbd/split');
    await remove('rbd/split-back');
    await pair.source.ceph(['osd', 'pool', 'rm', 'fast', 'fast', '--yes-i-really-really-mean-it']);
    const refused = await pair.cli('restore', id);
    expectError(refused, 'CANNOT_RECREATE', 36, '"fast"');
    expect(await imageNames(pair.source, 'rbd')).not.toContain('split');
  });

  it('image-meta as it is, whatever librbd takes: what rbd cannot set is named, and costs nothing else', async () => {
    await create('rbd/odd-meta', '--size', '16M');
    const text = {
      owner: 'Zoë & "co"',
      lines: 'a\nb\n',
      '-x': '--conf',
      'key "with"\nlines': 'a"\\b',
      tab: '\t\u0001',
    };
    for (const [key, value] of Object.entries(text)) {
      await pair.source.rbd(['image-meta', 'set', '--image', 'odd-meta', '--', key, value]);
    }
    const { stdout } = await pair.source.rbd(['info', 'rbd/odd-meta', '--format', 'json']);
    const { id: imageId } = JSON.parse(stdout) as { id: string };
    const setBytes = (key: string, input: Uint8Array) =>
      runCommand(
        'rados',
        [...pair.source.connectArgs(), '-p', 'rbd', 'setomapval', `rbd_header.${imageId}`, `metadata_${key}`],
        { input },
      );
    await setBytes('empty', Buffer.of());
    await setBytes('bytes', Buffer.of(0xff, 0xfe));
    await setBytes('rbdferry.lineage', Buffer.of(0xff));
    await pair.source.rbd(['image-meta', 'set', 'rbd/odd-meta', 'last', 'x']);

    const id = await pair.ok('backup', 'rbd/odd-meta');
    const restored = await pair.cli('restore', id, '--to', 'rbd/odd-meta-back');
    expect(restored).toMatchObject({ exitCode: 0 });
    expect(restored.stderr).toContain('the image-meta "empty" is not restored: its value is empty');
    expect(restored.stderr).toContain('the image-meta "bytes" is not restored: its value is no UTF-8');
    for (const [key, value] of [...Object.entries(text), ['last', 'x'] as const]) {
      const got = await pair.source.rbd(['image-meta', 'get', '--image', 'odd-meta-back', '--', key]);
      expect(got.stdout, key).toBe(`${value}\n`);
    }
    // A lineage that cannot be read is none, and a backup image that somebody has written on is still a chain.
    await pair.backup.rbd(['image-meta', 'set', chainOf(id), 'note "1"\n', 'x']);
    expect(await pair.ok('backup', 'rbd/odd-meta', '--mode', 'incr')).toContain(chainOf(id));
  });
});

describe('stages', () => {
  /** Lets a stream through at about 2 MiB/s. */
  const slowly = `perl -e 'while (sysread(STDIN, $_, 262144)) { select(undef, undef, undef, 0.12); syswrite(STDOUT, $_) }'`;

  it.each([
    ['target', TransferStage.TARGET, ['import-diff', '--id receiver'], `${slowly} | real`],
    ['source', TransferStage.SOURCE, ['export-diff', '--id agent'], `real | ${slowly}`],
  ] as const)('names a slow %s while a backup runs and afterwards', async (name, stage, words, script) => {
    const slow = `rbd/slow-${name}`;
    await create(slow, '--size', '16M');
    await applyWrites(pair.source, slow, [{ offset: 0, data: randomBytes(slow, 8 * MiB) }]);
    await rbd.instead(words, script);
    try {
      const { id } = await control.startBackup(slow);
      const seen = await control.until(
        id,
        ({ state }) =>
          state?.$case === 'running' &&
          state.value.stages?.target !== undefined &&
          state.value.stages.bottleneck === stage,
      );
      expect(seen.state?.$case).toBe('running');
      await control.until(id, hasEnded);
    } finally {
      await rbd.heal();
    }
    for (const { records } of [pair.agent, pair.receiver]) {
      expect(records.filter(({ msg }) => msg === 'transfer ended').at(-1)).toMatchObject({
        result: 'ok',
        bottleneck: name,
      });
    }
  });
});
