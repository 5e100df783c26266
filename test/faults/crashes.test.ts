import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { applyWrites, randomBytes, sha256OfExport } from '../ceph/cluster.js';
import { imageNames, snapNames } from '../harness/look.js';
import { startPair, type Pair } from '../harness/pair.js';

/** Daemons that really die, in each phase, and what is found afterwards on both clusters. */
const MiB = 1024 * 1024;
const image = 'rbd/vm';
let pair: Pair;
let full: string;

beforeAll(async () => {
  pair = await startPair({ name: 'crash', agentExtra: 'stall_timeout: 20s\n', receiverExtra: 'stall_timeout: 20s\n' });
  await pair.source.rbd(['create', '--size', '256M', image]);
  await applyWrites(pair.source, image, [{ offset: 0, data: randomBytes('base', 2 * MiB) }]);
  full = await pair.ok('backup', image);
});

afterAll(async () => {
  await pair?.stop();
});

const snapOf = (id: string): string => id.slice(id.indexOf('@') + 1);
const chainOf = (id: string): string => id.slice(id.indexOf('/') + 1, id.indexOf('@'));

interface JobJson {
  id: string;
  image: string;
  backupId: string | null;
  state: string;
  phase?: string;
  error?: { code: string };
}

const jobs = async (): Promise<JobJson[]> => JSON.parse(await pair.ok('jobs', '--json')) as JobJson[];

const jobWhere = async (is: (job: JobJson) => boolean, what: string): Promise<JobJson> => {
  for (let tries = 0; tries < 600; tries += 1) {
    const found = (await jobs()).find(is);
    if (found !== undefined) return found;
    await sleep(50);
  }
  throw new Error(`no job ${what}: ${JSON.stringify(await jobs())}`);
};

/** Both clusters hold what they held, and the next backup is right. */
const expectClean = async (backups: string[]): Promise<void> => {
  expect(await snapNames(pair.source, image)).toHaveLength(1);
  expect((await snapNames(pair.backup, `rbd2/${chainOf(full)}`)).toSorted()).toEqual(backups.map(snapOf).toSorted());
  expect(await imageNames(pair.backup, 'rbd2')).toEqual([chainOf(full)]);
  expect(await imageNames(pair.source, 'rbd')).toEqual(['vm']);
  await applyWrites(pair.source, image, [{ offset: 7 * MiB, data: randomBytes(`next ${backups.length}`, 10_000) }]);
  const started = performance.now();
  const next = await pair.ok('backup', image, '--mode', 'incr');
  // No lock of a dead client in the way: that would take 30 s.
  expect(performance.now() - started).toBeLessThan(20_000);
  expect(await sha256OfExport(pair.backup, next)).toBe(await sha256OfExport(pair.source, `${image}@${snapOf(next)}`));
  known.push(next);
};

const known: string[] = [];
beforeEach(() => {
  if (known.length === 0) known.push(full);
});

/** Makes the next backup last, and starts it without waiting for its end. */
const startLongBackup = async (seed: string): Promise<void> => {
  await applyWrites(pair.source, image, [{ offset: 10 * MiB, data: randomBytes(seed, 200 * MiB) }]);
  void pair.cli('backup', image).catch(() => {});
};

describe('kill -9 of the agent', () => {
  it.each(['plan', 'snapshot', 'open', 'transfer', 'commit', 'clean-up'])(
    'in phase %s or just after it',
    async (phase) => {
      await startLongBackup(`agent ${phase}`);
      const order = ['plan', 'snapshot', 'open', 'transfer', 'commit', 'clean-up'];
      const seen = await jobWhere((job) => {
        const { kind, phase: at } = job.state;
        return kind === 'committed' ? false : kind === 'running' && order.indexOf(at ?? '') >= order.indexOf(phase);
      }, `in ${phase}`).catch(() => null);
      await pair.agent.kill();
      await pair.startAgent();
      if (seen === null) return;
      const ended = await jobWhere((job) => job.id === seen.id && !['queued', 'running'].includes(job.state), 'ended');
      if (ended.state === 'committed') known.push(ended.backupId ?? '');
      else expect(ended.error?.code).toBe('JOB_INTERRUPTED');
      await expectClean(known);
    },
  );
});

describe('kill -9 of the receiver', () => {
  it('in mid-transfer: the job fails, nothing is left, the next one works', async () => {
    await startLongBackup('receiver');
    const job = await jobWhere(({ state, phase }) => state === 'running' && phase === 'transfer', 'in transfer');
    await pair.receiver.kill();
    await sleep(500);
    await pair.startReceiver();
    const ended = await jobWhere((each) => each.id === job.id && !['queued', 'running'].includes(each.state), 'ended');
    expect(ended.state).toBe('failed');
    expect(['CONNECTION_LOST', 'RECEIVER_UNREACHABLE']).toContain(ended.error?.code);
    // The agent could not ask the receiver at first; its caretaker does within half a minute.
    for (let tries = 0; tries < 90 && (await snapNames(pair.source, image)).length > 1; tries += 1) await sleep(500);
    await expectClean(known);
  });
});

describe('kill -9 of rbd itself', () => {
  it.each([
    ['export-diff', 'source'],
    ['import-diff', 'backup'],
  ] as const)('%s', async (command, side) => {
    const { execa } = await import('execa');
    await startLongBackup(`rbd ${command}`);
    const job = await jobWhere(({ state, phase }) => state === 'running' && phase === 'transfer', 'in transfer');
    const conf = side === 'source' ? pair.source.confPath : pair.backup.confPath;
    const { stdout } = await execa('pgrep', ['-f', `${command}.*${conf}|${conf}.*${command}`]);
    for (const pid of stdout.split('\n')) process.kill(Number(pid), 'SIGKILL');
    const ended = await jobWhere((each) => each.id === job.id && !['queued', 'running'].includes(each.state), 'ended');
    expect(ended.state).toBe('failed');
    if (side === 'backup') await sleep(30_000);
    await expectClean(known);
  });
});

describe('cancel', () => {
  it('in mid-transfer leaves nothing, and the next backup works at once', async () => {
    await startLongBackup('cancel');
    const job = await jobWhere(({ state, phase }) => state === 'running' && phase === 'transfer', 'in transfer');
    await pair.cli('cancel', job.id);
    const ended = await jobWhere((each) => each.id === job.id, 'there');
    expect(ended.state).toBe('cancelled');
    await expectClean(known);
  });
});

describe('a restore', () => {
  it.each(['transfer', 'verify'])('whose agent is killed in phase %s leaves no image behind', async (phase) => {
    const last = known.at(-1) ?? full;
    void pair.cli('restore', last, '--to', 'rbd/back').catch(() => {});
    const order = ['plan', 'transfer', 'verify', 'swap'];
    const job = await jobWhere(
      (each) =>
        each.backupId === last && each.state === 'running' && order.indexOf(each.phase ?? '') >= order.indexOf(phase),
      `in ${phase}`,
    );
    await pair.agent.kill();
    await pair.startAgent();
    const ended = await jobWhere((each) => each.id === job.id && !['queued', 'running'].includes(each.state), 'ended');
    if (ended.state === 'committed') {
      expect(await sha256OfExport(pair.source, 'rbd/back')).toBe(await sha256OfExport(pair.backup, last));
      await pair.source.rbd(['snap', 'purge', 'rbd/back']);
      await pair.source.rbd(['rm', 'rbd/back']);
    }
    expect(await imageNames(pair.source, 'rbd')).toEqual(['vm']);
  });

  it('with --replace is refused while the image is open, and the image stays as it was', async () => {
    const { execa } = await import('execa');
    const watcher = execa('rbd', [...pair.source.connectArgs('admin'), 'watch', image], {
      reject: false,
      buffer: false,
    });
    try {
      for (let tries = 0; tries < 100; tries += 1) {
        const { stdout } = await pair.source.rbd(['status', image]);
        if (stdout.includes('watcher=')) break;
        await sleep(100);
      }
      const refused = await pair.cli('restore', full, '--replace');
      expect(refused.stderr).toContain('IMAGE_IN_USE');
      expect(refused.exitCode).toBe(35);
    } finally {
      watcher.kill();
      await watcher;
    }
    expect(await imageNames(pair.source, 'rbd')).toEqual(['vm']);
  });
});
