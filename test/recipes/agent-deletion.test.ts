import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deleteBackups, type DeleteDeps, type DeleteEvent } from '@rbdferry/agent/delete/delete-backups.js';
import { finishDeletion } from '@rbdferry/agent/delete/deletion.js';
import type { Selection } from '@rbdferry/agent/delete/selection.js';
import { looseEndKinds } from '@rbdferry/agent/job-kinds.js';
import { JobStore } from '@rbdferry/agent/jobs/job-store.js';
import { LooseEnds } from '@rbdferry/agent/jobs/loose-ends.js';
import type { CephPort } from '@rbdferry/core/ceph/port.js';
import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { formatBackupId, type BackupId, type BackupIdParts } from '@rbdferry/core/model/backup-id.js';
import type { Removed, Store } from '@rbdferry/receiver/store/port.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dyingCeph } from '../fake-ceph/dying-ceph.js';
import { fakeCeph } from '../fake-ceph/fake-ceph.js';
import { FakeCluster } from '../fake-ceph/fake-cluster.js';
import { makeSource, type Source } from './source.js';
import { listed, partsOf, pushTo, rbdStoreOn, storePool } from './store.js';

/** A deletion as the agent carries it out, and what becomes of it when the agent dies in the middle or hears nothing of the receiver. */
let directory: string;
let stores = 0;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'rbdferry-deletion-'));
});

afterAll(() => rm(directory, { recursive: true, force: true }));

type Receiver = DeleteDeps['receiver'];
/** What happens to a call of the receiver: it may fail before it arrives, or its answer be lost. */
type Wire = <T>(call: () => Promise<T>) => Promise<T>;

const receiverOver = (store: Store, wire: Wire): Receiver => {
  const options = { dryRun: false, client: 'agent1', mayRemove: () => true };
  const gone = ({ backupIds, kept, trashedUntil }: Removed) => ({ ids: backupIds, kept, trashedUntil });
  return {
    name: 'dr',
    async *chains(_, image) {
      yield* store.chains(image, {});
    },
    deleteBackup: (id, dryRun) =>
      wire(async () => ({ ...gone(await store.remove(partsOf(id), { ...options, dryRun })), ids: [id] })),
    deleteChain: (_, chain, dryRun) => wire(async () => gone(await store.removeChain(chain, { ...options, dryRun }))),
  };
};

interface Scene {
  readonly source: Source;
  readonly store: Store;
  readonly made: readonly BackupIdParts[];
  readonly jobs: JobStore;
}

/** Three backups in one chain, whose snapshots are all on the source. */
const scene = async (): Promise<Scene> => {
  const source = await makeSource();
  const store = rbdStoreOn(fakeCeph(new FakeCluster(storePool.pool)));
  const made: BackupIdParts[] = [];
  for (const snap of source.snaps) {
    made.push(partsOf((await pushTo(store, { source, snap, base: made.at(-1) ?? null })).id));
  }
  stores += 1;
  return { source, store, made, jobs: new JobStore(join(directory, `${stores}`)) };
};

const looseEndsOf = ({ store, source, jobs }: Scene): LooseEnds => {
  const ceph = fakeCeph(source.cluster);
  const kinds = looseEndKinds({
    ceph,
    findBackup: () => Promise.resolve(null),
    finishDeletion: (end) => finishDeletion(end, { receiver: receiverOver(store, (call) => call()), ceph }),
    now: Date.now,
  });
  return new LooseEnds(jobs, { kinds, now: Date.now });
};

const run = async (of: Scene, selection: Selection, by: { ceph: CephPort; wire: Wire }): Promise<DeleteEvent[]> => {
  const events: DeleteEvent[] = [];
  const deps: DeleteDeps = {
    ceph: by.ceph,
    receiver: receiverOver(of.store, by.wire),
    looseEnds: looseEndsOf(of),
    dryRun: false,
    signal: new AbortController().signal,
    now: Date.now,
  };
  for await (const event of deleteBackups(selection, deps)) events.push(event);
  return events;
};

const idsOf = ({ made }: Scene, indexes: readonly number[]): BackupId[] =>
  made.filter((_, index) => indexes.includes(index)).map(formatBackupId);

const first: (of: Scene) => Selection = (of) => ({ kind: 'ids', ids: idsOf(of, [0]) });
const two: (of: Scene) => Selection = (of) => ({ kind: 'ids', ids: idsOf(of, [0, 2]) });
const chain: (of: Scene) => Selection = ({ made }) => {
  const [{ chain: name, store } = { chain: undefined, store: '' }] = made;
  if (name === undefined) throw new Error('no chain');
  return { kind: 'chain', store, chain: name };
};

/** The caretaker's round; then each backup is on both sides or on none. */
const settleAndCheck = async (of: Scene, where: string): Promise<string[]> => {
  for (const { handle } of looseEndsOf(of).kept()) await handle.settle();
  expect(of.jobs.looseEnds(), where).toEqual([]);
  const atReceiver = (await listed(of.store)).map(({ snap }) => snap);
  const onSource = (await fakeCeph(of.source.cluster).snapshots(of.source.image)).map(({ name }) => name);
  expect(onSource, where).toEqual(atReceiver);
  return atReceiver;
};

describe.each([
  ['of one backup', first, 2],
  ['of two backups', two, 1],
  ['of a chain', chain, 0],
] as const)('a deletion %s', (_, selection, left) => {
  it('takes the backups and their source snapshots', async () => {
    const of = await scene();
    const events = await run(of, selection(of), { ceph: fakeCeph(of.source.cluster), wire: (call) => call() });
    expect(events.filter(({ kind }) => kind === 'deleted')).toHaveLength(3 - left);
    expect(of.jobs.looseEnds()).toEqual([]);
    expect(await settleAndCheck(of, 'whole')).toHaveLength(left);
  });

  it('whose agent dies before or after any call of its cluster is finished on both sides, or was not begun', async () => {
    const whole = await scene();
    const counted = dyingCeph(fakeCeph(whole.source.cluster), { at: Infinity, when: 'before' });
    await run(whole, selection(whole), { ceph: counted.ceph, wire: (call) => call() });
    for (const when of ['before', 'after'] as const) {
      for (let at = 1; at <= counted.calls.length; at += 1) {
        const of = await scene();
        const agent = dyingCeph(fakeCeph(of.source.cluster), { at, when });
        const wire: Wire = (call) => (agent.isDead ? Promise.reject(new Error('dead')) : call());
        await run(of, selection(of), { ceph: agent.ceph, wire }).catch(() => {});
        await settleAndCheck(of, `${when} ${counted.calls[at - 1]}`);
      }
    }
  });

  it.each(['before', 'after'])('whose receiver is lost %s it acts is finished by the caretaker', async (when) => {
    const of = await scene();
    const wire: Wire = async (call) => {
      if (when === 'after') await call();
      throw new FerryError('CONNECTION_LOST', 'the connection broke');
    };
    const lost = run(of, selection(of), { ceph: fakeCeph(of.source.cluster), wire });
    await expect(lost).rejects.toMatchObject({ code: 'CONNECTION_LOST' });
    expect(of.jobs.looseEnds()).toHaveLength(1);
    const now = await settleAndCheck(of, when);
    expect(now.length).toBeLessThan(3);
  });
});

it('leaves nothing on the source when the image has another name by now', async () => {
  const of = await scene();
  const ceph = fakeCeph(of.source.cluster);
  const renamed = { ...of.source.image, image: 'renamed' };
  await ceph.rename(of.source.image, renamed);
  await run(of, chain(of), { ceph, wire: (call) => call() });
  expect(await ceph.snapshots(renamed)).toEqual([]);
});
