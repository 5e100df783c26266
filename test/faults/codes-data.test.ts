import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Job } from '@rbdferry/core/gen/rbdferry/v1/control.js';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { applyWrites, randomBytes, sha256OfExport } from '../ceph/cluster.js';
import { Control, hasEnded } from '../harness/control.js';
import { damagedRbd, type DamagedRbd } from '../harness/damaged-rbd.js';
import { expectError } from '../harness/expect-error.js';
import { imageNames, snapNames } from '../harness/look.js';
import { startPair, type Pair } from '../harness/pair.js';

/** Codes that an `rbd` gives which does one thing wrong; through the command line, with text, hint and exit status. */
let pair: Pair;
let rbd: DamagedRbd;
let binDir: string;
/** The first backup, and the content it has. */
let first = { id: '', sha256: '' };

const snapOf = (id: string): string => id.slice(id.indexOf('@') + 1);

beforeAll(async () => {
  binDir = await mkdtemp(join(tmpdir(), 'rbdferry-damaged-'));
  rbd = await damagedRbd(binDir);
  pair = await startPair({ name: 'data', env: rbd.env });
  for (const image of ['rbd/vm', 'rbd/other']) await pair.source.rbd(['create', '--size', '16M', image]);
  await applyWrites(pair.source, 'rbd/vm', [{ offset: 5000, data: randomBytes('data', 3_000_000) }]);
  const id = await pair.ok('backup', 'rbd/vm');
  first = { id, sha256: await sha256OfExport(pair.source, `rbd/vm@${snapOf(id)}`) };
});

/** Whatever it was: nothing of it is left, and the backup before it is what it was. */
afterEach(async () => {
  await rbd.heal();
  expect(await imageNames(pair.source, 'rbd')).toEqual(['other', 'vm']);
  expect(await snapNames(pair.source, 'rbd/vm')).toEqual([snapOf(first.id)]);
  expect(await imageNames(pair.backup, 'rbd2')).toHaveLength(1);
  expect(await sha256OfExport(pair.backup, first.id)).toBe(first.sha256);
});

afterAll(async () => {
  await pair?.stop();
  await rm(binDir, { recursive: true, force: true });
});

describe('a diff that is damaged on the way', () => {
  it('STREAM_INVALID: a record that is none', async () => {
    await rbd.instead(['export-diff'], `printf 'rbd diff v1\\nx'; real | tail -c +13`);
    expectError(await pair.cli('backup', 'rbd/vm'), 'STREAM_INVALID', 50, 'malformed');
  });

  it('STREAM_TRUNCATED: the end record is missing', async () => {
    await rbd.instead(['export-diff'], 'real | head -c -1');
    expectError(await pair.cli('backup', 'rbd/vm'), 'STREAM_TRUNCATED', 51, 'malformed');
    await rbd.instead(['export-diff', '--id receiver'], 'real | head -c -1');
    expectError(await pair.cli('restore', first.id, '--to', 'rbd/back'), 'STREAM_TRUNCATED', 51, 'malformed');
  });

  it('VERIFY_FAILED: import-diff writes nothing and is content', async () => {
    await rbd.instead(['import-diff', '--id agent'], 'cat > /dev/null');
    expectError(await pair.cli('restore', first.id, '--to', 'rbd/back'), 'VERIFY_FAILED', 53, snapOf(first.id));
  });
});

describe('snapshots', () => {
  it('SNAPSHOT_NOT_FOUND: it is gone as soon as it is made', async () => {
    await rbd.instead(['snap create'], 'true');
    expectError(await pair.cli('backup', 'rbd/vm'), 'SNAPSHOT_NOT_FOUND', 27, 'rbd/vm');
  });

  it('SNAPSHOT_EXISTS: somebody was quicker', async () => {
    await rbd.instead(['snap create'], 'real && real');
    expectError(await pair.cli('backup', 'rbd/vm'), 'SNAPSHOT_EXISTS', 37, 'rbd/vm');
  });

  it('CEPH_FAILED: one is protected', async () => {
    const snapshot = `rbd/vm@${snapOf(first.id)}`;
    await pair.source.rbd(['snap', 'protect', snapshot]);
    const result = await pair.cli('delete', '--source-snapshots', 'rbd/vm');
    await pair.source.rbd(['snap', 'unprotect', snapshot]);
    expectError(result, 'CEPH_FAILED', 64, 'protected');
  });
});

it('CEPH_NO_SPACE: rbd says that there is none', async () => {
  // By itself the rbd of Ceph 16 waits on a full pool, which is CEPH_TIMEOUT (ceph-port-trouble.test.ts).
  await rbd.instead(['create', '--id receiver'], `echo 'rbd: create error: (28) No space left on device' >&2; exit 28`);
  expectError(await pair.cli('backup', 'rbd/other'), 'CEPH_NO_SPACE', 63, 'No space left on device');
  expect(await snapNames(pair.source, 'rbd/other')).toEqual([]);
});

describe('while a job runs', () => {
  const waitsForOf = ({ state }: Job): string => (state?.$case === 'running' ? state.value.waitsFor : '');

  /** Starts a backup that does not go on before the file is there. */
  const heldBackup = async (): Promise<{ jobId: string; gate: string }> => {
    const gate = join(pair.dir, `gate-${Date.now()}`);
    await rbd.instead(['export-diff'], `until [ -e '${gate}' ]; do sleep 0.05; done; real`);
    const { id: jobId } = JSON.parse(await pair.ok('backup', 'rbd/vm', '--async', '--json')) as { id: string };
    return { jobId, gate };
  };

  it('a restore over its image says what it waits for', async () => {
    const { jobId, gate } = await heldBackup();
    const control = new Control(pair.socket);
    try {
      const restore = await control.startRestore(first.id, '');
      const waiting = await control.until(restore.id, (job) => waitsForOf(job) !== '' || hasEnded(job));
      expect(waitsForOf(waiting)).toBe('another job on rbd/vm');
      await control.cancel(restore.id);
      await control.cancel(jobId);
    } finally {
      control.close();
      await writeFile(gate, '');
    }
  });

  it('IMAGE_BUSY: its source snapshots are asked to go', async () => {
    const { jobId, gate } = await heldBackup();
    try {
      expectError(await pair.cli('delete', '--source-snapshots', 'rbd/vm'), 'IMAGE_BUSY', 33, 'rbd/vm');
    } finally {
      await writeFile(gate, '');
    }
    await pair.ok('job', 'wait', jobId);
    const [, second] = (JSON.parse(await pair.ok('list', 'rbd/vm', '--json')) as { backups: { id: string }[] }[])
      .flatMap(({ backups }) => backups)
      .map(({ id }) => id);
    first = { id: second ?? '', sha256: first.sha256 };
  });

  it('JOB_INTERRUPTED: the agent is stopped', async () => {
    const { jobId } = await heldBackup();
    await pair.agent.stop();
    await rbd.heal();
    await pair.startAgent();
    expectError(await pair.cli('job', 'wait', jobId), 'JOB_INTERRUPTED', 71, 'stopped');
  });

  it('CANCELLED: it is called off', async () => {
    const { jobId } = await heldBackup();
    await pair.ok('job', 'cancel', jobId);
    expectError(await pair.cli('job', 'wait', jobId), 'CANCELLED', 130, jobId);
  });
});

describe('requests', () => {
  it('INVALID_REQUEST: an idempotency key that was used for another image', async () => {
    const key = ['--idempotency-key', 'night 1'];
    await pair.ok('backup', 'rbd/nobody', ...key, '--async').catch(() => '');
    const again = await pair.cli('backup', 'rbd/other', ...key);
    expectError(again, 'INVALID_REQUEST', 12, '"night 1"');
    expect(await snapNames(pair.source, 'rbd/other')).toEqual([]);
  });

  it('USAGE: nothing is named', async () => {
    expectError(await pair.cli('delete'), 'USAGE', 2, 'nothing is named');
  });
});
