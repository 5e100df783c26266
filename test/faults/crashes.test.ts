import { access, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Job } from '@rbdferry/core/gen/rbdferry/v1/control.js';
import { applyWrites, randomBytes, sha256OfExport } from '../ceph/cluster.js';
import { Control, errorCodeOf, hasEnded, phaseOf, stateOf } from '../harness/control.js';
import { damagedRbd, type DamagedRbd } from '../harness/damaged-rbd.js';
import { expectError } from '../harness/expect-error.js';
import { imageNames, snapNames } from '../harness/look.js';
import { startPair, type Pair } from '../harness/pair.js';

/**
 * Processes that really die, once at each place where that is more than a call that is not made; every call is died at in
 * recipes/crashes.test.ts. What is found afterwards on both clusters.
 */
const MiB = 1024 * 1024;
const image = 'rbd/vm';
const data = randomBytes('noise', 48 * MiB);
let pair: Pair;
let rbd: DamagedRbd;
let binDir: string;
let control: Control;
/** Ids of the backups that must be there, oldest first. */
const known: string[] = [];

const snapOf = (id: string): string => id.slice(id.indexOf('@') + 1);
const chainOf = (id: string): string => id.slice(id.indexOf('/') + 1, id.indexOf('@'));

beforeAll(async () => {
  binDir = await mkdtemp(join(tmpdir(), 'rbdferry-damaged-'));
  rbd = await damagedRbd(binDir);
  const stall = 'stall_timeout: 20s\n';
  pair = await startPair({ name: 'crash', agentExtra: stall, receiverExtra: stall, env: rbd.env });
  await pair.source.rbd(['create', '--size', '64M', image]);
  await applyWrites(pair.source, image, [{ offset: 0, data: randomBytes('base', 2 * MiB) }]);
  known.push(await pair.ok('backup', image));
});

afterAll(async () => {
  await pair?.stop();
  await rm(binDir, { recursive: true, force: true });
});

beforeEach(() => {
  control = new Control(pair.socket);
});

afterEach(async () => {
  control.close();
  await rbd.heal();
});

let writes = 0;
/** Makes the next increment last a moment. */
const writeMuch = async (): Promise<void> => {
  writes += 1;
  await applyWrites(pair.source, image, [{ offset: 4 * MiB + writes * 4096, data: data.subarray(writes * 4096) }]);
};

/** Starts the agent again and waits until it says how the job ended. */
const endAfterRestart = async (jobId: string): Promise<Job> => {
  control.close();
  await pair.startAgent();
  control = new Control(pair.socket);
  return control.until(jobId, hasEnded);
};

/** Both clusters hold what they held, every backup is what it was, and the next one works at once and is right. */
const expectClean = async (): Promise<void> => {
  const [full = ''] = known;
  expect(await snapNames(pair.source, image)).toEqual([snapOf(known.at(-1) ?? '')]);
  expect(await imageNames(pair.backup, 'rbd2')).toEqual([chainOf(full)]);
  expect((await snapNames(pair.backup, `rbd2/${chainOf(full)}`)).toSorted()).toEqual(known.map(snapOf).toSorted());
  expect(await imageNames(pair.source, 'rbd')).toEqual(['vm']);
  await applyWrites(pair.source, image, [{ offset: MiB, data: randomBytes(`next ${known.length}`, 10_000) }]);
  const started = performance.now();
  const next = await pair.ok('backup', image, '--mode', 'incr');
  // No lock of a dead client in the way: that would take 30 s.
  expect(performance.now() - started).toBeLessThan(20_000);
  known.push(next);
  expect(await sha256OfExport(pair.backup, next)).toBe(await sha256OfExport(pair.source, `${image}@${snapOf(next)}`));
};

/** The agent could not ask the receiver at first; its caretaker does within half a minute. */
const caretaken = async (): Promise<void> => {
  for (let tries = 0; tries < 80 && (await snapNames(pair.source, image)).length > 1; tries += 1) await sleep(500);
};

const thereIs = async (path: string): Promise<void> => {
  for (let tries = 0; tries < 300; tries += 1) {
    try {
      return await access(path);
    } catch {
      await sleep(100);
    }
  }
  throw new Error(`there is no ${path}`);
};

/** A job that ended well after all counts among the backups. */
const note = (job: Job): void => {
  if (stateOf(job) === 'committed') known.push(job.backupId);
};

describe('kill -9 of the agent', () => {
  it.each(['transfer', 'commit'])('in phase %s', async (phase) => {
    await writeMuch();
    const job = await control.startBackup(image);
    const seen = await control.until(job.id, (each) => phaseOf(each) === phase);
    expect(phaseOf(seen)).toBe(phase);
    await pair.agent.kill();
    const ended = await endAfterRestart(job.id);
    expect(['committed', 'failed']).toContain(stateOf(ended));
    if (stateOf(ended) === 'failed') expect(errorCodeOf(ended)).toBe('JOB_INTERRUPTED');
    note(ended);
    await expectClean();
  });
});

describe('SIGTERM of the agent', () => {
  it('in mid-transfer cleans up before it goes', async () => {
    await writeMuch();
    const job = await control.startBackup(image);
    await control.until(job.id, (each) => phaseOf(each) === 'transfer');
    expect(await pair.agent.stop()).toBe(0);
    expect(await snapNames(pair.source, image)).toEqual([snapOf(known.at(-1) ?? '')]);
    const ended = await endAfterRestart(job.id);
    expect(errorCodeOf(ended)).toBe('JOB_INTERRUPTED');
    await expectClean();
  });
});

describe('kill -9 of the receiver', () => {
  it.each([
    ['in mid-transfer', 0],
    // Whatever the agent's machine can hold is on the way by then, and it waits in a write: the only sign is that this fails.
    ['that took nothing any more', 1_500],
  ])('%s: the job fails at once, nothing is left, the next one works', async (_, stoppedMs) => {
    await writeMuch();
    const job = await control.startBackup(image);
    await control.until(job.id, (each) => phaseOf(each) === 'transfer');
    if (stoppedMs > 0) process.kill(pair.receiver.pid, 'SIGSTOP');
    await sleep(stoppedMs);
    await pair.receiver.kill();
    await pair.startReceiver();
    const ended = await control.until(job.id, hasEnded);
    // And not TRANSFER_STALLED, 20 s later.
    expect(['CONNECTION_LOST', 'RECEIVER_UNREACHABLE']).toContain(errorCodeOf(ended));
    await caretaken();
    await pair.receiver.waitFor('store checked');
    await expectClean();
  });

  it('between the snapshot and its facts: neither counts, though the facts are written after all', async () => {
    const [held, gate] = [join(pair.dir, 'held'), join(pair.dir, 'gate')];
    // A call of librbd does not outlive its receiver by so much: two seconds, and then its helper ends itself.
    await pair.receiver.stop();
    await pair.startReceiver('cli');
    await rbd.instead(
      ['image-meta set', 'rbdferry.backup.'],
      `touch '${held}'; until [ -e '${gate}' ]; do sleep 0.05; done; real; touch '${gate}.passed'`,
    );
    const chain = `rbd2/${chainOf(known[0] ?? '')}`;
    const job = await control.startBackup(image);
    await thereIs(held);
    expect(await snapNames(pair.backup, chain)).toHaveLength(known.length + 1);
    await pair.receiver.kill();
    await rbd.heal();
    await pair.startReceiver();
    await pair.receiver.waitFor('store checked');
    expect(stateOf(await control.until(job.id, hasEnded))).toBe('failed');
    // The agent may be quicker with its question than the receiver's own look, which then leaves the chain to it.
    const state = async () => (await pair.backup.rbd(['image-meta', 'get', chain, 'rbdferry.state'])).stdout;
    // Until it is done: of two commands that change an image at the same time one may hang.
    await expect.poll(state, { timeout: 60_000, interval: 500 }).toContain('"clean"');
    expect((await snapNames(pair.backup, chain)).toSorted()).toEqual(known.map(snapOf).toSorted());
    // The command outlived its receiver.
    await writeFile(gate, '');
    await thereIs(`${gate}.passed`);
    const listed = JSON.parse(await pair.ok('list', '--json')) as { backups: { id: string }[] }[];
    expect(listed.flatMap(({ backups }) => backups.map(({ id }) => id)).toSorted()).toEqual(known.toSorted());
    await caretaken();
    await expectClean();
  });
});

describe('kill -9 of the receiver during a full', () => {
  it('leaves no image of it once it has started again', async () => {
    await pair.source.rbd(['create', '--size', '64M', 'rbd/young']);
    await applyWrites(pair.source, 'rbd/young', [{ offset: 0, data }]);
    const job = await control.startBackup('rbd/young');
    await control.until(job.id, (each) => phaseOf(each) === 'transfer');
    await pidsOf('import-diff', pair.backup.dir);
    await pair.receiver.kill();
    expect((await imageNames(pair.backup, 'rbd2')).filter((name) => name.startsWith('young.'))).toHaveLength(1);
    await pair.startReceiver();
    await pair.receiver.waitFor('store checked');
    // The agent may be quicker with its question than the receiver's own look, which then leaves the chain to it.
    const left = async () => (await imageNames(pair.backup, 'rbd2')).filter((name) => name.startsWith('young.'));
    await expect.poll(left, { timeout: 20_000 }).toEqual([]);
    expect(stateOf(await control.until(job.id, hasEnded))).toBe('failed');
    for (let tries = 0; tries < 40 && (await snapNames(pair.source, 'rbd/young')).length > 0; tries += 1)
      await sleep(250);
    expect(await snapNames(pair.source, 'rbd/young')).toEqual([]);
    await pair.source.rbd(['rm', 'rbd/young']);
    await expectClean();
  });
});

/** Processes of an rbd command on a cluster; waits until there is one. */
const pidsOf = async (command: string, dir: string): Promise<number[]> => {
  for (let tries = 0; tries < 400; tries += 1) {
    const { stdout } = await execa('pgrep', ['-a', '-f', `(^|/)rbd .*${dir}/`], { reject: false });
    const found = stdout.split('\n').filter((line) => line.includes(` ${command} `));
    if (found.length > 0) return found.map((line) => Number(line.split(' ')[0]));
    await sleep(10);
  }
  throw new Error(`no ${command} in ${dir}`);
};

describe('kill -9 of rbd itself', () => {
  it.each([
    ['export-diff', 'source'],
    ['import-diff', 'backup'],
  ] as const)('%s', async (command, side) => {
    await writeMuch();
    const job = await control.startBackup(image);
    await control.until(job.id, (each) => phaseOf(each) === 'transfer');
    for (const pid of await pidsOf(command, pair[side].dir)) process.kill(pid, 'SIGKILL');
    const ended = await control.until(job.id, hasEnded);
    expect(stateOf(ended)).toBe('failed');
    await expectClean();
  });
});

describe('cancel', () => {
  it.each(['transfer', 'commit'])('in phase %s leaves nothing', async (phase) => {
    await writeMuch();
    const job = await control.startBackup(image);
    await control.until(job.id, (each) => phaseOf(each) === phase);
    const ended = await control.cancel(job.id);
    // Once the commit was under way it may be too late, and then the job says so.
    if (phase !== 'commit') expect(stateOf(ended)).toBe('cancelled');
    note(ended);
    await expectClean();
  });
});

describe('a restore', () => {
  it.each(['transfer', 'swap'])('whose agent is killed in phase %s is whole or not there', async (phase) => {
    const last = known.at(-1) ?? '';
    const job = await control.startRestore(last, 'rbd/back');
    const seen = await control.until(job.id, (each) => phaseOf(each) === phase);
    expect(phaseOf(seen)).toBe(phase);
    await pair.agent.kill();
    const ended = await endAfterRestart(job.id);
    if (stateOf(ended) === 'committed') {
      expect(await sha256OfExport(pair.source, 'rbd/back')).toBe(await sha256OfExport(pair.backup, last));
      await pair.source.rbd(['snap', 'purge', 'rbd/back']);
      await pair.source.rbd(['rm', 'rbd/back']);
    } else expect(errorCodeOf(ended)).toBe('JOB_INTERRUPTED');
    expect(await imageNames(pair.source, 'rbd')).toEqual(['vm']);
  });

  it('with --replace is refused while the image is open, and the image stays as it was', async () => {
    const watcher = execa('rbd', ['watch', image, ...pair.source.connectArgs('admin')], {
      reject: false,
      buffer: false,
    });
    try {
      for (let tries = 0; tries < 100; tries += 1) {
        const { stdout } = await pair.source.rbd(['status', image]);
        if (stdout.includes('watcher=')) break;
        await sleep(100);
      }
      const refused = await pair.cli('restore', known[0] ?? '', '--replace');
      expectError(refused, 'IMAGE_IN_USE', 35, image);
    } finally {
      watcher.kill();
      await watcher;
    }
    expect(await imageNames(pair.source, 'rbd')).toEqual(['vm']);
  });
});
