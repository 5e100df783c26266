import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SnapshotEnd } from '@rbdferry/agent/backup/snapshot-end.js';
import { looseEndKinds } from '@rbdferry/agent/job-kinds.js';
import { JobStore } from '@rbdferry/agent/jobs/job-store.js';
import { LooseEnds } from '@rbdferry/agent/jobs/loose-ends.js';
import { formatBackupId, snapNameOf, type ChainName, type Timestamp } from '@rbdferry/core/model/backup-id.js';
import { formatImageSpec } from '@rbdferry/core/model/image-spec.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fakeCeph } from '../fake-ceph/fake-ceph.js';
import { makeSource } from './source.js';

/** Snapshots on the source that nobody removes: Ceph makes one after its asker gave up, or the image has another name by then. */
let directory: string;
let stores = 0;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'rbdferry-loose-'));
});

afterAll(() => rm(directory, { recursive: true, force: true }));

const hourMs = 3_600_000;
const snap = snapNameOf('2026-11-27.20:00:00.000000' as Timestamp);
const chain = 'vm.2026-11-27.10:00:00.000000.bkp.image' as ChainName;

const scene = async (unseenSinceMs: number | undefined) => {
  const source = await makeSource();
  const ceph = fakeCeph(source.cluster);
  const { id: imageId } = await ceph.info(source.image);
  stores += 1;
  const jobs = new JobStore(join(directory, `${stores}`));
  let nowMs = 0;
  const now = () => nowMs;
  const kinds = looseEndKinds({
    ceph,
    findBackup: () => Promise.resolve(null),
    finishDeletion: () => Promise.reject(new Error('there is none')),
    now,
  });
  const ends = new LooseEnds(jobs, { kinds, now });
  const end: SnapshotEnd = {
    kind: 'snapshot',
    image: formatImageSpec(source.image),
    imageId,
    snap,
    receiver: 'dr',
    backupId: formatBackupId({ store: 'main', chain, snap }),
    ...(unseenSinceMs === undefined ? {} : { unseenSinceMs }),
  };
  ends.add('job', end);
  const round = async (atMs: number): Promise<string[]> => {
    nowMs = atMs;
    const kinds: string[] = [];
    for (const { handle } of ends.kept()) kinds.push((await handle.settle()).kind);
    return kinds;
  };
  const names = async () => (await ceph.snapshots(source.image)).map(({ name }) => name);
  return { source, ceph, jobs, round, names };
};

describe('a snapshot whose asker gave up', () => {
  it('is waited for, ever less often, and removed when it comes', async () => {
    const { source, jobs, round, names } = await scene(0);
    expect(await round(1_000)).toEqual(['waiting']);
    expect(await round(1_200)).toEqual([]);
    expect(await round(10_000)).toEqual(['waiting']);
    source.cluster.addSnapshot(source.image, snap);
    expect(await round(hourMs)).toEqual(['undone']);
    expect(await names()).toEqual(source.snaps);
    expect(jobs.looseEnds()).toEqual([]);
  });

  it('is not waited for longer than a day', async () => {
    const { jobs, round } = await scene(0);
    expect(await round(25 * hourMs)).toEqual(['undone']);
    expect(jobs.looseEnds()).toEqual([]);
  });
});

it('a snapshot that was seen is looked for once, under whatever name its image has', async () => {
  const { source, ceph, round } = await scene(undefined);
  source.cluster.addSnapshot(source.image, snap);
  const renamed = { ...source.image, image: 'renamed' };
  await ceph.rename(source.image, renamed);
  expect(await round(1_000)).toEqual(['undone']);
  expect((await ceph.snapshots(renamed)).map(({ name }) => name)).toEqual(source.snaps);
});
