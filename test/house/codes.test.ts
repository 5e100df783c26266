import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { ErrorCode } from '@rbdferry/core/errors/registry.js';
import type { Lease } from '@rbdferry/core/transfer/lease.js';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { randomBytes } from '../ceph/image-content.js';
import { expectError } from '../harness/expect-error.js';
import { Damage } from './damage.js';
import { startHouse, type House } from './house.js';
import { chainOf, imageOf, snapOf } from './site.js';

/** Codes whose cause is what a cluster answers, through the command line, and that nothing is left of the job. */
const KiB = 1024;
const image = 'rbd/vm';
const [agentSide, receiverSide] = [new Damage(), new Damage()];
let house: House;
let first: { readonly id: string; readonly sha256: string };

beforeAll(async () => {
  house = await startHouse({ sourcePools: ['rbd', 'secret'] });
  house.agent.between = agentSide.between;
  house.receiver.between = receiverSide.between;
  await house.receiver.restart();
  await house.agent.restart();
  for (const name of [image, 'rbd/other']) await house.source.create(name);
  house.source.write(image, 5000, randomBytes('data', 300 * KiB));
  first = await backUp();
}, 60_000);

afterAll(() => house?.stop());

const backUp = async (...args: string[]) => {
  const id = await house.ok('backup', image, ...args);
  return { id, sha256: house.source.sha256(`${image}@${snapOf(id)}`) };
};

/** Whatever it was: nothing of it is left, and the backup before it is what it was. */
afterEach(async () => {
  agentSide.heal();
  receiverSide.heal();
  await vi.waitFor(async () => {
    expect(await house.source.imageNames('rbd')).toEqual(['other', 'vm']);
    expect(await house.source.snapNames(image)).toEqual([snapOf(first.id)]);
    expect(await house.backup.imageNames('rbd2')).toEqual([chainOf(first.id).slice('rbd2/'.length)]);
    expect(await house.backup.snapNames(chainOf(first.id))).toEqual([snapOf(first.id)]);
  }, 10_000);
  expect(house.backup.sha256(first.id)).toBe(first.sha256);
});

const fails = (code: ErrorCode, message: string) => () => Promise.reject(new FerryError(code, message));
/** The last byte of a stream is lost. */
const truncated = async (run: () => Promise<unknown>): Promise<unknown> => {
  const next = (await run()) as IteratorResult<Lease>;
  if (next.done === true || next.value.bytes.at(-1) !== 'e'.charCodeAt(0)) return next;
  return { done: false, value: next.value.narrow(next.value.bytes.subarray(0, -1)) };
};

describe('a diff that is damaged on the way', () => {
  it('STREAM_INVALID: a record that is none', async () => {
    agentSide.instead(['exportDiff.chunk'], async (run) => {
      const next = (await run()) as IteratorResult<Lease>;
      if (next.done !== true) next.value.bytes[12] = 'x'.charCodeAt(0);
      return next;
    });
    expectError(await house.cli('backup', image), 'STREAM_INVALID', 50, 'malformed');
  });

  it('STREAM_TRUNCATED: the end record is missing', async () => {
    agentSide.instead(['exportDiff.chunk'], truncated);
    expectError(await house.cli('backup', image), 'STREAM_TRUNCATED', 51, 'malformed');
    agentSide.heal();
    receiverSide.instead(['exportDiff.chunk'], truncated);
    expectError(await house.cli('restore', first.id, '--to', 'rbd/back'), 'STREAM_TRUNCATED', 51, 'malformed');
  });

  it('VERIFY_FAILED: import-diff writes nothing and is content', async () => {
    const nothing = () => Promise.resolve();
    agentSide.instead(['importDiff '], () => Promise.resolve({ write: nothing, finish: nothing, abort: nothing }));
    expectError(await house.cli('restore', first.id, '--to', 'rbd/back'), 'VERIFY_FAILED', 53, snapOf(first.id));
  });
});

describe('SOURCE_CHANGED: what is read is destroyed while it is read', () => {
  it.each([
    ['the image is removed', () => house.source.remove('rbd/gone')],
    ['it gets another name', () => house.source.rename('rbd/gone', 'rbd/went')],
  ])('%s', async (_, destroy) => {
    await house.source.create('rbd/gone');
    house.source.write('rbd/gone', 0, randomBytes('gone', 64 * KiB));
    agentSide.instead(['exportDiff.chunk'], async (run) => {
      const next = await run();
      if ((await house.source.imageNames('rbd')).includes('gone')) await destroy();
      return next;
    });
    expectError(await house.cli('backup', 'rbd/gone'), 'SOURCE_CHANGED', 54, 'rbd/gone@');
    if (!(await house.source.imageNames('rbd')).includes('went')) return;
    expect(await house.source.snapNames('rbd/went')).toEqual([]);
    await house.source.remove('rbd/went');
  });
});

describe('snapshots', () => {
  it('SNAPSHOT_NOT_FOUND: it is gone as soon as it is made', async () => {
    agentSide.instead(['createSnapshot'], () => Promise.resolve());
    expectError(await house.cli('backup', image), 'SNAPSHOT_NOT_FOUND', 27, image);
  });

  it('SNAPSHOT_EXISTS: somebody was quicker', async () => {
    agentSide.instead(['createSnapshot'], async (run) => {
      await run();
      return run();
    });
    expectError(await house.cli('backup', image), 'SNAPSHOT_EXISTS', 37, image);
  });

  it('CEPH_FAILED: one is protected', async () => {
    const snapshot = `${image}@${snapOf(first.id)}`;
    house.source.protect(snapshot);
    const result = await house.cli('delete', '--source-snapshots', image);
    house.source.protect(snapshot, false);
    expectError(result, 'CEPH_FAILED', 64, 'protected');
  });

  it('NO_COMMON_SNAPSHOT: they were purged', async () => {
    house.source.cluster.removeSnapshot(imageOf(image), snapOf(first.id));
    expectError(await house.cli('backup', image, '--mode', 'incr'), 'NO_COMMON_SNAPSHOT', 31, first.id);
    expect(await house.source.snapNames(image)).toEqual([]);
    // auto makes a full of it, and says why.
    const { stdout, stderr, exitCode } = await house.cli('backup', image);
    expect(exitCode).toBe(0);
    expect(stderr).toContain('no snapshot of an earlier backup');
    expect(chainOf(stdout)).not.toBe(chainOf(first.id));
    await house.ok('delete', first.id);
    first = { id: stdout, sha256: house.source.sha256(`${image}@${snapOf(stdout)}`) };
  });
});

describe('a cluster that refuses', () => {
  it('CEPH_NO_SPACE: the receiver can make no image', async () => {
    receiverSide.instead(['create '], fails('CEPH_NO_SPACE', 'No space left on device'));
    expectError(await house.cli('backup', 'rbd/other'), 'CEPH_NO_SPACE', 63, 'No space left on device');
    expect(await house.source.snapNames('rbd/other')).toEqual([]);
  });

  it('CEPH_PERMISSION: a pool the user has no rights on', async () => {
    house.source.cluster.addPool('secret', { permitted: false });
    expectError(await house.cli('backup', 'secret/vm'), 'CEPH_PERMISSION', 62, 'secret/vm');
  });

  it('CEPH_UNAVAILABLE: no monitor answers', async () => {
    house.source.cluster.trouble.unreachable = true;
    const result = await house.cli('backup', image);
    house.source.cluster.trouble.unreachable = false;
    expectError(result, 'CEPH_UNAVAILABLE', 60, 'connect to the cluster');
  });
});

/** The chain says that its head is the first backup, and knows of no other one. */
const expectFirstOnly = async (): Promise<void> => {
  const metadata = await house.backup.ceph.metadata(imageOf(chainOf(first.id)));
  const facts = [...metadata.keys()].filter((key) => key.startsWith('rbdferry.backup.'));
  expect(facts).toEqual([`rbdferry.backup.${snapOf(first.id)}`]);
  expect(JSON.parse(metadata.get('rbdferry.state') ?? '')).toMatchObject({ kind: 'clean', head: snapOf(first.id) });
};

describe('a commit', () => {
  it('CEPH_FAILED: the snapshot cannot be made', async () => {
    receiverSide.instead(['importDiff.finish'], fails('CEPH_FAILED', 'cannot import'));
    expectError(await house.cli('backup', image), 'CEPH_FAILED', 64, 'import');
    await expectFirstOnly();
  });

  it('CEPH_FAILED: the facts cannot be written, and the snapshot that is there goes', async () => {
    const there: number[] = [];
    receiverSide.instead(['setMetadata', 'rbdferry.backup.'], async () => {
      there.push((await house.backup.snapNames(chainOf(first.id))).length);
      // By then import-diff has let go of the image, so that nothing else changes it while the facts are written.
      expect(house.backup.cluster.allWatchers()).toEqual([]);
      throw new FerryError('CEPH_FAILED', 'no luck');
    });
    expectError(await house.cli('backup', image), 'CEPH_FAILED', 64, 'no luck');
    expect(there).toEqual([2]);
    await expectFirstOnly();
  });

  it('CEPH_FAILED: nothing can be cleaned up either; the next one does it before it begins', async () => {
    const hopeless = /rbdferry\.backup\.|removeSnapshot|rollback/;
    receiverSide.instead([], (run, { text }) => (hopeless.test(text) ? fails('CEPH_FAILED', 'no luck')() : run()));
    expectError(await house.cli('backup', image), 'CEPH_FAILED', 64, 'no luck');
    receiverSide.heal();
    expect(await house.backup.snapNames(chainOf(first.id))).toHaveLength(2);
    const next = await backUp('--mode', 'incr');
    await house.ok('delete', first.id);
    first = next;
  });
});

/** Starts a job that does not go on. Answers its id, and how to let it go on. */
const held = async (call: string, side: 'source' | 'backup', ...args: string[]) => {
  const hang = house[side].cluster.trouble.hang((each) => each === call);
  const { id } = JSON.parse(await house.ok(...args, '--async', '--json')) as { id: string };
  await vi.waitFor(() => {
    expect(hang.waiting).toBeGreaterThan(0);
  }, 10_000);
  return { id, release: () => hang.release() };
};

describe('while a job runs', () => {
  it('a restore over its image says what it waits for', async () => {
    const backup = await held('exportDiff', 'source', 'backup', image);
    const { id } = JSON.parse(await house.ok('restore', first.id, '--replace', '--async', '--json')) as { id: string };
    await vi.waitFor(async () => {
      expect(await house.ok('job', 'show', id)).toContain('another job on rbd/vm');
    }, 10_000);
    await house.ok('job', 'cancel', id);
    await house.ok('job', 'cancel', backup.id);
    backup.release();
  });

  it('IMAGE_BUSY: its source snapshots are asked to go', async () => {
    const { id, release } = await held('exportDiff', 'source', 'backup', image);
    expectError(await house.cli('delete', '--source-snapshots', image), 'IMAGE_BUSY', 33, image);
    await house.ok('job', 'cancel', id);
    release();
  });

  it('JOB_INTERRUPTED: the agent is stopped', async () => {
    const { id, release } = await held('exportDiff', 'source', 'backup', image);
    await house.agent.restart();
    release();
    expectError(await house.cli('job', 'wait', id), 'JOB_INTERRUPTED', 71, 'stopped');
  });

  it.each([
    ['a backup that reads', 'exportDiff', 'source', () => ['backup', image]],
    ['a backup whose target takes nothing', 'importDiff.write', 'backup', () => ['backup', image]],
    [
      'a restore whose target takes nothing',
      'importDiff.write',
      'source',
      () => ['restore', first.id, '--to', 'rbd/x'],
    ],
  ] as const)('CANCELLED: %s is called off', async (_, call, side, args) => {
    const { id, release } = await held(call, side, ...args());
    await house.ok('job', 'cancel', id);
    expectError(await house.cli('job', 'wait', id), 'CANCELLED', 130, id);
    release();
  });
});

describe('requests', () => {
  it('INVALID_REQUEST: an idempotency key that was used for another image', async () => {
    const key = ['--idempotency-key', 'night 1'];
    await house.cli('backup', 'rbd/nobody', ...key, '--async');
    const again = await house.cli('backup', 'rbd/other', ...key);
    expectError(again, 'INVALID_REQUEST', 12, '"night 1"');
    expect(await house.source.snapNames('rbd/other')).toEqual([]);
  });

  it('USAGE: nothing is named', async () => {
    expectError(await house.cli('delete'), 'USAGE', 2, 'nothing is named');
  });
});
