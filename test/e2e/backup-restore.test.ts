import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TransferStage } from '@rbdferry/core/gen/rbdferry/v1/control.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCommand } from '../ceph/command.js';
import { applyWrites, randomBytes, sha256OfExport } from '../ceph/cluster.js';
import { Control, doneBytesOf, hasEnded, phaseOf, totalBytesOf } from '../harness/control.js';
import { damagedRbd, type DamagedRbd } from '../harness/damaged-rbd.js';
import { startDaemon, type Daemon } from '../harness/daemon.js';
import { startPair, type Pair } from '../harness/pair.js';
import { startSecondAgent, type SecondAgent } from '../harness/second-agent.js';
import { expectError } from '../harness/expect-error.js';
import { imageNames, snapNames } from '../harness/look.js';
import { documentedMetrics, scrape, type Scrape } from '../harness/metrics.js';

const MiB = 1024 * 1024;
const idPattern =
  /^rbd2\/[\w.-]+\.\d{4}-\d\d-\d\d\.\d\d:\d\d:\d\d\.\d{6}\.bkp\.image@\d{4}-\d\d-\d\d\.\d\d:\d\d:\d\d\.\d{6}\.snap$/;

const metrics = 'metrics: { listen: 127.0.0.1:0 }\n';

let pair: Pair;
let rbd: DamagedRbd;
let binDir: string;

beforeAll(async () => {
  binDir = await mkdtemp(join(tmpdir(), 'rbdferry-slow-'));
  rbd = await damagedRbd(binDir);
  pair = await startPair({ name: 'e2e', env: rbd.env, agentExtra: metrics, receiverExtra: metrics });
});

afterAll(async () => {
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
const streamBytesOf = async (id: string): Promise<number> => {
  const { image } = /^rbd2\/(?<image>.+)\.\d{4}-\d\d-\d\d\./.exec(id)?.groups ?? {};
  const chains = JSON.parse(await pair.ok('list', `rbd/${image}`, '--json')) as {
    backups: { id: string; streamBytes: number }[];
  }[];
  return chains.flatMap(({ backups }) => backups).find((backup) => backup.id === id)?.streamBytes ?? NaN;
};
const sourceAt = (image: string, id: string) =>
  sha256OfExport(pair.source, `${image}@${id.slice(id.indexOf('@') + 1)}`);

describe('a chain of one full and seven increments', () => {
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
    expect(await snapNames(pair.source, image)).toEqual([id.slice(id.indexOf('@') + 1)]);
    return id;
  };

  it('is backed up: full, small writes, zeroes and discards, written zeros, grow, shrink, no change', async () => {
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
    await applyWrites(pair.source, image, small);
    await backup('--mode', 'incr');
    await applyWrites(pair.source, image, [
      { offset: 4 * MiB, zero: 4 * MiB },
      { offset: 1000, zero: 5000 },
    ]);
    await backup();
    // Zeros that are written, over data, in whole blocks and in parts of them: they are not sent.
    const withZeros = Buffer.concat([randomBytes('a', 10_000), Buffer.alloc(3 * MiB), randomBytes('b', 10_000)]);
    await applyWrites(pair.source, image, [{ offset: MiB + 700, data: withZeros }]);
    expect(await streamBytesOf(await backup())).toBeLessThan(40_000);
    await pair.source.rbd(['resize', '--size', '96M', image]);
    await applyWrites(pair.source, image, [{ offset: 90 * MiB, data: randomBytes('grown', MiB) }]);
    await backup();
    await pair.source.rbd(['resize', '--size', '30M', '--allow-shrink', image]);
    await backup();
    await backup('--mode', 'incr');
    await applyWrites(pair.source, image, [{ offset: 29 * MiB, data: randomBytes('last', MiB) }]);
    await backup();
    // All of it is one chain, and every point of it is still what it was.
    expect(new Set(ids.map((id) => id.slice(0, id.indexOf('@')))).size).toBe(1);
    for (const [index, id] of ids.entries()) expect(await backupOf(id)).toBe(hashes[index]);
  });

  it('lists the chain', async () => {
    const [chain] = JSON.parse(await pair.ok('list', image, '--json')) as {
      backups: { id: string; kind: string; presentOnSource: boolean }[];
      active: boolean;
    }[];
    expect(chain?.active).toBe(true);
    expect(chain?.backups.map((backup) => backup.id)).toEqual(ids);
    expect(chain?.backups.map((backup) => backup.kind)).toEqual(['full', ...ids.slice(1).map(() => 'incremental')]);
    expect(chain?.backups.map((backup) => backup.presentOnSource)).toEqual([...ids.slice(1).map(() => false), true]);
  });

  it('restores every point under another name', async () => {
    for (const [index, id] of ids.entries()) {
      const to = `rbd/restored-${index}`;
      expect(await pair.ok('restore', id, '--to', to)).toBe(to);
      expect(await sha256OfExport(pair.source, to)).toBe(hashes[index]);
      await remove(to);
    }
  });

  it('refuses to restore over the image, then replaces it, and the chain goes on', async () => {
    const [first = ''] = ids;
    const refused = await pair.cli('restore', first);
    expectError(refused, 'IMAGE_EXISTS', 34, image);
    expect(await pair.ok('restore', first, '--replace')).toBe(image);
    expect(await sha256OfExport(pair.source, image)).toBe(hashes[0]);
    const { stdout: trash } = await pair.source.rbd(['trash', 'ls', 'rbd']);
    expect(trash).toContain('chain');
    await applyWrites(pair.source, image, [{ offset: 12345, data: randomBytes('after', 77_777) }]);
    const next = await pair.ok('backup', image, '--mode', 'incr');
    expect(next.startsWith(first.slice(0, first.indexOf('@')))).toBe(true);
    expect(await backupOf(next)).toBe(await sourceAt(image, next));
    // What came between is untouched by the rollback to the first point.
    for (const [index, id] of ids.entries()) expect(await backupOf(id)).toBe(hashes[index]);
    ids.push(next);
    hashes.push(await sourceAt(image, next));
  });

  it('comes back after the source image is gone, and the next increment needs no full', async () => {
    const last = ids.at(-1) ?? '';
    await remove(image);
    expect(await pair.ok('restore', last)).toBe(image);
    expect(await sha256OfExport(pair.source, image)).toBe(hashes.at(-1));
    await applyWrites(pair.source, image, [{ offset: 3 * MiB, data: randomBytes('again', 1000) }]);
    const next = await pair.ok('backup', image, '--mode', 'incr');
    expect(await backupOf(next)).toBe(await sourceAt(image, next));
  });

  it('goes on for an image restored under another name', async () => {
    const copy = 'rbd/copy-of-chain';
    const [, second = ''] = ids;
    await pair.ok('restore', second, '--to', copy);
    await applyWrites(pair.source, copy, [{ offset: 5 * MiB, data: randomBytes('copy', 5000) }]);
    const next = await pair.ok('backup', copy, '--mode', 'incr');
    expect(await backupOf(next)).toBe(await sourceAt(copy, next));
  });
});

describe('every kind of image comes back as it was', () => {
  const roundTrip = async (image: string): Promise<void> => {
    const id = await pair.ok('backup', image);
    const hash = await sourceAt(image, id);
    const before = await infoOf(image);
    await applyWrites(pair.source, image, [{ offset: 100_000, data: randomBytes(`more ${image}`, 50_000) }]);
    const second = await pair.ok('backup', image, '--mode', 'incr');
    const secondHash = await sourceAt(image, second);
    for (const [each, expected] of [
      [id, hash],
      [second, secondHash],
    ] as const) {
      const to = `${image}-back`;
      await pair.ok('restore', each, '--to', to);
      expect(await sha256OfExport(pair.source, to)).toBe(expected);
      expect(await infoOf(to)).toEqual(before);
      await remove(to);
    }
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
    ['small objects', 'rbd/small', ['--size', '8M', '--object-size', '64K']],
    ['large objects', 'rbd/large', ['--size', '80M', '--object-size', '32M']],
    ['striping', 'rbd/striped', ['--size', '40M', '--stripe-unit', '64K', '--stripe-count', '4']],
    ['few features', 'rbd/plain', ['--size', '20M', '--image-feature', 'layering']],
    ['a size that is no whole number of objects', 'rbd/odd', ['--size', '10000000B']],
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

  it('an image that was never written', async () => {
    await create('rbd/empty', '--size', '16M');
    await roundTrip('rbd/empty');
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

  it('an image with a name that needs quotes: backup, increment, list, restore, replace, delete', async () => {
    const image = 'rbd/vm (1) "ä" #2';
    await create(image, '--size', '8M');
    await applyWrites(pair.source, image, [{ offset: 0, data: randomBytes('quotes', MiB) }]);
    await roundTrip(image);
    const chains = JSON.parse(await pair.ok('list', image, '--json')) as { image: string; backups: { id: string }[] }[];
    expect(chains.map((each) => each.image)).toEqual([image]);
    const [first = '', second = ''] = chains.flatMap(({ backups }) => backups.map(({ id }) => id));
    expect(await pair.ok('list', image)).toContain(second);
    expect(await pair.ok('restore', second, '--replace')).toBe(image);
    expect(await sha256OfExport(pair.source, image)).toBe(await backupOf(second));
    await pair.ok('delete', image, '--keep-last', '1');
    expect(await imageNames(pair.backup, 'rbd2')).toContain(chainOf(second).slice('rbd2/'.length));
    const left = await pair.ok('list', image);
    expect(left).toContain(second);
    expect(left).not.toContain(first);
  });

  it('an image whose data lies in another pool, and a stated refusal when that pool is gone', async () => {
    await pair.source.createPool('fast');
    await create('rbd/split', '--size', '16M', '--data-pool', 'fast');
    await applyWrites(pair.source, 'rbd/split', [{ offset: 0, data: randomBytes('split', MiB) }]);
    await roundTrip('rbd/split');
    const [chain] = JSON.parse(await pair.ok('list', 'rbd/split', '--json')) as { backups: { id: string }[] }[];
    await remove('rbd/split');
    await pair.source.ceph(['osd', 'pool', 'rm', 'fast', 'fast', '--yes-i-really-really-mean-it']);
    const refused = await pair.cli('restore', chain?.backups[0]?.id ?? '');
    expectError(refused, 'CANNOT_RECREATE', 36, '"fast"');
    expect(await imageNames(pair.source, 'rbd')).not.toContain('split');
  });

  it('the user’s own image-meta and snapshots', async () => {
    await create('rbd/meta', '--size', '16M');
    await pair.source.rbd(['image-meta', 'set', 'rbd/meta', 'owner', 'Zoë & "co"']);
    await pair.source.rbd(['snap', 'create', 'rbd/meta@mine']);
    const id = await pair.ok('backup', 'rbd/meta');
    await pair.ok('backup', 'rbd/meta');
    expect(await snapNames(pair.source, 'rbd/meta')).toContain('mine');
    await pair.ok('restore', id, '--to', 'rbd/meta-back');
    const { stdout } = await pair.source.rbd(['image-meta', 'get', 'rbd/meta-back', 'owner']);
    expect(stdout.trim()).toBe('Zoë & "co"');
  });

  it('image-meta as it is, whatever librbd takes: what rbd cannot set is named, and costs nothing else', async () => {
    await create('rbd/odd-meta', '--size', '16M');
    const text = { lines: 'a\nb\n', '-x': '--conf', 'key "with"\nlines': 'a"\\b', tab: '\t\u0001' };
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

describe('a limit', () => {
  /** What both daemons take for a stall is far shorter than what the transfers below take. */
  const stall = 'stall_timeout: 5s\n';
  let receiver: Daemon;
  let agent: SecondAgent;

  beforeAll(async () => {
    const config = join(pair.dir, 'impatient.yaml');
    const text = await readFile(pair.receiverConfig, 'utf8');
    await writeFile(config, text.replace(/^listen:.*$/m, 'listen: 127.0.0.1:0') + stall);
    receiver = await startDaemon('rbdferry-receiver', config);
    agent = await startSecondAgent(pair, {
      name: 'limited',
      change: (yaml) => yaml.replace(/localhost:\d+/, `localhost:${receiver.port}`),
      receiver: '    limit: { rate: 1GiB/s, times: [{ from: "00:00", to: "12:00", rate: unlimited }] }\n',
      extra: stall,
    });
  });

  afterAll(async () => {
    await agent?.daemon.stop();
    await receiver?.stop();
  });

  it('is no stall, though bytes come one by one: backup, restore, and what is told of the jobs', async () => {
    await create('rbd/limited', '--size', '8M');
    await applyWrites(pair.source, 'rbd/limited', [{ offset: 4096, data: randomBytes('limited', 7_000) }]);
    const args = ['--limit', '1KiB/s'];
    const job = JSON.parse(await agent.ok('backup', 'rbd/limited', '--json', ...args)) as {
      id: string;
      backupId: string;
    };
    expect(await backupOf(job.backupId)).toBe(await sourceAt('rbd/limited', job.backupId));
    await agent.ok('restore', job.backupId, '--to', 'rbd/limited-back', ...args);
    expect(await sha256OfExport(pair.source, 'rbd/limited-back')).toBe(await backupOf(job.backupId));
    await remove('rbd/limited-back');
    await agent.restart();
    expect(JSON.parse(await agent.ok('job', 'show', job.id, '--json'))).toMatchObject({ limitBytesPerSecond: 1024 });
  });
});

describe('progress', () => {
  const image = 'rbd/progress';
  const control = () => new Control(pair.socket);

  /** Both kinds of jobs last longer than it takes to find the total out. */
  const slowly = 5000n;

  /** What is told when all data has come through. */
  const atTheEnd = async (jobId: string, phases: readonly string[]): Promise<{ done: number; total: number }> => {
    const watch = control();
    const job = await watch.until(jobId, (each) => hasEnded(each) || phases.includes(phaseOf(each)));
    watch.close();
    return { done: Number(doneBytesOf(job)), total: Number(totalBytesOf(job)) };
  };

  it('counts the zeros that are not sent, in a backup and in a restore', async () => {
    await create(image, '--size', '8M');
    // The whole first object but its last MiB; of it 20 KB are no zeros.
    await applyWrites(pair.source, image, [
      { offset: 0, data: randomBytes('begin', 10_000) },
      { offset: 3 * MiB - 10_000, data: randomBytes('end', 10_000) },
    ]);
    const start = control();
    const backup = await start.startBackup(image, slowly);
    const sent = await atTheEnd(backup.id, ['commit', 'clean-up']);
    expect(sent.done).toBeGreaterThan(3 * MiB);
    expect(sent.total).toBeGreaterThanOrEqual(sent.done);
    expect(sent.total).toBeLessThan(sent.done + 200);

    const { backupId } = await start.until(backup.id, hasEnded);
    expect(await streamBytesOf(backupId)).toBeLessThan(30_000);
    const restore = await start.startRestore(backupId, `${image}-back`, slowly);
    const received = await atTheEnd(restore.id, ['verify', 'swap']);
    expect(received.done).toBe(3 * MiB);
    expect(received.total).toBeGreaterThanOrEqual(received.done);
    expect(received.total).toBeLessThan(received.done + 200);
    await start.until(restore.id, hasEnded);
    start.close();
    expect(await sha256OfExport(pair.source, `${image}-back`)).toBe(await sourceAt(image, backupId));
    await remove(`${image}-back`);
  });
});

describe.each(['on', 'auto'])('compression (%s)', (mode) => {
  const image = `rbd/text-${mode}`;
  let agent: SecondAgent;

  beforeAll(async () => {
    const receiver = `    compression: ${mode}\n`;
    agent = await startSecondAgent(pair, { name: `zstd-${mode}`, receiver });
  });

  afterAll(async () => {
    await agent?.daemon.stop();
  });

  /** Bytes of the newest job: of its stream, and over the wire. */
  const bytesOf = (): { stream: number; wire: number } => {
    const job = agent.daemon.records.findLast(({ msg }) => msg === 'job committed');
    return { stream: Number(job?.['streamBytes']), wire: Number(job?.['wireBytes']) };
  };
  const text = (seed: string, bytes: number): Buffer =>
    Buffer.from(
      randomBytes(seed, bytes / 2)
        .toString('hex')
        .replaceAll(/[0-7]/g, ' '),
    );

  it('gives the same backups and images, with fewer bytes on the wire', async () => {
    await create(image, '--size', '32M');
    await applyWrites(pair.source, image, [
      { offset: 1000, data: text('full', 12 * MiB) },
      { offset: 20 * MiB, data: randomBytes('random', 3 * MiB) },
    ]);
    const full = await agent.ok('backup', image);
    const sent = bytesOf();
    expect(sent.stream).toBeGreaterThan(15 * MiB);
    expect(sent.wire).toBeLessThan(10 * MiB);
    expect(await backupOf(full)).toBe(await sourceAt(image, full));
    await applyWrites(pair.source, image, [
      { offset: 5 * MiB + 77, data: text('increment', 2 * MiB) },
      { offset: 22 * MiB, zero: MiB },
    ]);
    const increment = await agent.ok('backup', image, '--mode', 'incr', '--limit', '30MiB/s');
    expect(await backupOf(increment)).toBe(await sourceAt(image, increment));
    for (const [id, args] of [
      [full, []],
      [increment, ['--limit', '30MiB/s']],
    ] as const) {
      await agent.ok('restore', id, '--to', `${image}-back`, ...args);
      const back = bytesOf();
      expect(back.stream).toBeGreaterThan(14 * MiB);
      expect(back.wire).toBeLessThan(10 * MiB);
      expect(await sha256OfExport(pair.source, `${image}-back`)).toBe(await backupOf(id));
      await remove(`${image}-back`);
    }
  });
});

describe('names', () => {
  it('keeps vm1, vm10 and vm1.old apart', async () => {
    for (const name of ['vm1', 'vm10', 'vm1.old']) {
      await create(`rbd/${name}`, '--size', '8M');
      await applyWrites(pair.source, `rbd/${name}`, [{ offset: 0, data: randomBytes(name, 4096) }]);
      await pair.ok('backup', `rbd/${name}`);
    }
    const listed = JSON.parse(await pair.ok('list', 'rbd/vm1', '--json')) as { name: string }[];
    expect(listed.map((chain) => chain.name.split('.2')[0])).toEqual(['vm1']);
    expect((await imageNames(pair.backup, 'rbd2')).filter((name) => name.startsWith('vm1')).length).toBe(3);
  });

  it('takes an image that was removed and made again for another one', async () => {
    await remove('rbd/vm1');
    await create('rbd/vm1', '--size', '8M');
    const refused = await pair.cli('backup', 'rbd/vm1', '--mode', 'incr');
    expectError(refused, 'IMAGE_RECREATED', 32, 'rbd/vm1');
    expect(await snapNames(pair.source, 'rbd/vm1')).toEqual([]);
    const id = await pair.ok('backup', 'rbd/vm1');
    expect(await backupOf(id)).toBe(await sourceAt('rbd/vm1', id));
  });
});

describe('metrics and stages', () => {
  const image = 'rbd/measured';
  const both = async () => ({ agent: await scrape(pair.agent), receiver: await scrape(pair.receiver) });

  /** The newest job of the image. */
  const job = async (of = image) => {
    const [found] = JSON.parse(await pair.ok('jobs', '--image', of, '--limit', '1', '--json')) as {
      id: string;
      streamBytes: number;
      stages: { bottleneck: string; source: unknown; wire: unknown; target: { waitedMs: number } };
    }[];
    if (found === undefined) throw new Error(`there is no job of ${of}`);
    return found;
  };

  const grown = (before: Scrape, after: Scrape) => (name: string, labels?: Record<string, string>) =>
    after.value(name, labels) - before.value(name, labels);

  it('counts a full, an increment, a restore and a failure on both sides', async () => {
    await create(image, '--size', '16M');
    await applyWrites(pair.source, image, [{ offset: 0, data: randomBytes('measured', 3 * MiB) }]);
    const before = await both();
    const first = await pair.ok('backup', image);
    const full = await job();
    await applyWrites(pair.source, image, [{ offset: 8 * MiB, data: randomBytes('more measured', MiB) }]);
    await pair.ok('backup', image);
    const increment = await job();
    await pair.ok('restore', first, '--to', 'rbd/measured-back');
    const restore = await job('rbd/measured-back');
    expectError(await pair.cli('backup', 'rbd/nobody'), 'IMAGE_NOT_FOUND', 20, 'rbd/nobody');
    expectError(await pair.cli('job', 'show', 'nobody'), 'JOB_NOT_FOUND', 25, 'nobody');
    const after = await both();
    expect(full.streamBytes).toBeGreaterThan(3 * MiB);
    expect(increment.streamBytes).toBeGreaterThan(MiB);

    const agent = grown(before.agent, after.agent);
    const receiver = grown(before.receiver, after.receiver);
    for (const [of, name] of [
      [agent, 'rbdferry_agent'],
      [receiver, 'rbdferry_receiver'],
    ] as const) {
      expect(of(`${name}_transfers_total`, { kind: 'full', result: 'ok' })).toBe(1);
      expect(of(`${name}_transfers_total`, { kind: 'incremental', result: 'ok' })).toBe(1);
      expect(of(`${name}_transfers_total`, { kind: 'restore', result: 'ok' })).toBe(1);
      expect(of(`${name}_transfers_total`)).toBe(3);
      expect(of(`${name}_stage_wait_seconds_total`, { kind: 'full', stage: 'source' })).toBeGreaterThan(0);
      expect(of(`${name}_stage_wait_seconds_total`, { kind: 'full', stage: 'target' })).toBeGreaterThan(0);
      expect(of(`${name}_stage_wait_seconds_total`, { kind: 'full', stage: 'unknown' })).toBe(0);
    }
    const backedUp = full.streamBytes + increment.streamBytes;
    expect(agent('rbdferry_agent_transfer_bytes_total', { direction: 'sent' })).toBe(backedUp);
    expect(agent('rbdferry_agent_transfer_bytes_total', { direction: 'received' })).toBe(restore.streamBytes);
    expect(receiver('rbdferry_receiver_transfer_bytes_total', { direction: 'received' })).toBe(backedUp);
    expect(receiver('rbdferry_receiver_transfer_bytes_total', { direction: 'sent' })).toBe(restore.streamBytes);
    expect(agent('rbdferry_agent_jobs_total', { kind: 'backup', result: 'ok' })).toBe(2);
    expect(agent('rbdferry_agent_jobs_total', { kind: 'backup', result: 'failed' })).toBe(1);
    expect(agent('rbdferry_agent_jobs_total', { kind: 'restore', result: 'ok' })).toBe(1);
    expect(agent('rbdferry_agent_errors_total', { code: 'IMAGE_NOT_FOUND', origin: 'job' })).toBe(1);
    expect(agent('rbdferry_agent_errors_total', { code: 'JOB_NOT_FOUND', origin: 'call' })).toBe(1);
    expect(after.agent.value('rbdferry_agent_jobs')).toBe(0);
  });

  it('documents every metric, its type and its labels, and none that is not there', async () => {
    const page = documentedMetrics(await readFile(new URL('../../docs/metrics.md', import.meta.url), 'utf8'));
    const { agent, receiver } = await both();
    const live = new Map([...agent.metrics, ...receiver.metrics]);
    expect([...page.keys()].sort()).toEqual([...live.keys()].sort());
    for (const [name, { type, labels }] of live) {
      expect(`${name} ${type}`).toBe(`${name} ${page.get(name)?.type}`);
      for (const label of labels) expect([...(page.get(name)?.labels ?? [])], name).toContain(label);
    }
  });

  it('knows the last success of each image after a restart, and forgets an image without backups', async () => {
    const labels = { image, store: 'rbd2' };
    const before = await both();
    const success = before.agent.value('rbdferry_agent_last_success_timestamp_seconds', { ...labels, receiver: 'dr' });
    const committed = before.receiver.value('rbdferry_receiver_last_committed_timestamp_seconds', {
      ...labels,
      client: 'agent1',
    });
    expect(Math.abs(Date.now() / 1000 - success)).toBeLessThan(600);
    expect(Math.abs(committed - success)).toBeLessThan(60);
    await Promise.all([pair.agent.stop(), pair.receiver.stop()]);
    await Promise.all([pair.startAgent(), pair.startReceiver()]);
    const again = await both();
    expect(again.agent.value('rbdferry_agent_last_success_timestamp_seconds', labels)).toBe(success);
    expect(again.agent.value('rbdferry_agent_last_snapshot_timestamp_seconds', labels)).toBeLessThan(success);
    const lastCommitted = async () =>
      (await scrape(pair.receiver)).value('rbdferry_receiver_last_committed_timestamp_seconds', labels);
    await expect.poll(lastCommitted, { timeout: 20_000 }).toBe(committed);

    const [chain] = JSON.parse(await pair.ok('list', image, '--json')) as { name: string; backups: { id: string }[] }[];
    await pair.ok('delete', chain?.backups.at(-1)?.id ?? '');
    // Until the other ones have been looked at there is none.
    const isEarlier = async () => {
      const at = await lastCommitted();
      return at > 0 && at < committed;
    };
    await expect.poll(isEarlier, { timeout: 20_000 }).toBe(true);
    await pair.ok('delete', '--chain', `rbd2/${chain?.name}`);
    await expect.poll(lastCommitted, { timeout: 20_000 }).toBe(0);
  });

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
    const before = await both();
    const control = new Control(pair.socket);
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
      control.close();
      await rbd.heal();
    }
    const { stages, id } = await job(slow);
    expect(stages.bottleneck).toBe(name);
    expect(await pair.ok('job', 'show', id)).toMatch(new RegExp(`^${name} .*waited for .*, the bottleneck$`, 'm'));
    for (const { records } of [pair.agent, pair.receiver]) {
      expect(records.filter(({ msg }) => msg === 'transfer ended').at(-1)).toMatchObject({
        result: 'ok',
        bottleneck: name,
      });
    }
    const after = await both();
    for (const [daemon, from, to] of [
      ['agent', before.agent, after.agent],
      ['receiver', before.receiver, after.receiver],
    ] as const) {
      const waited = (stage: string) =>
        grown(from, to)(`rbdferry_${daemon}_stage_wait_seconds_total`, { kind: 'full', stage });
      for (const other of ['source', 'wire', 'target', 'unknown'].filter((each) => each !== name)) {
        expect(waited(name), `${daemon}: ${name}, ${other}`).toBeGreaterThan(2 * waited(other));
      }
    }
  });

  it('names a slow target of a restore', async () => {
    await create('rbd/slow-back', '--size', '16M');
    await applyWrites(pair.source, 'rbd/slow-back', [{ offset: 0, data: randomBytes('slow-back', 8 * MiB) }]);
    const id = await pair.ok('backup', 'rbd/slow-back');
    await rbd.instead(['import-diff', '--id agent'], `${slowly} | real`);
    await pair.ok('restore', id, '--to', 'rbd/slow-restored');
    await rbd.heal();
    expect((await job('rbd/slow-restored')).stages.bottleneck).toBe('target');
    expect(await sha256OfExport(pair.source, 'rbd/slow-restored')).toBe(await backupOf(id));
  });
});
