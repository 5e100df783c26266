import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RestoreJobRequest } from '@rbdferry/agent/restore/restore-jobs.js';
import type { BackupId } from '@rbdferry/core/model/backup-id.js';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { CallRecorder } from './call-recorder.js';
import { callTables, renderTable } from './call-tables.js';
import { TwoSites } from './two-sites.js';

/** Each job asks of Ceph what its table says, in that order and that much side by side, and nothing else. */
let directory: string;
let sites: TwoSites;
const recorders = { source: new CallRecorder(), target: new CallRecorder() };

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'rbdferry-calls-'));
  sites = new TwoSites(directory, {
    // As a receiver's configuration has them when it says nothing.
    features: ['layering', 'exclusive-lock', 'object-map', 'fast-diff'],
    watch: (side, port) => recorders[side === 'agent' ? 'source' : 'target'].watch(port),
  });
  await sites.createImage();
});

afterEach(() => expect([...sites.source.overlaps, ...sites.backup.overlaps]).toEqual([]));

afterAll(async () => {
  await sites.close();
  await rm(directory, { recursive: true, force: true });
});

const expectCalls = async (job: keyof typeof callTables, step: () => Promise<unknown>): Promise<void> => {
  await sites.settled();
  for (const recorder of Object.values(recorders)) recorder.take();
  await step();
  await sites.settled();
  for (const on of ['source', 'target'] as const) {
    const wanted = callTables[job].filter((row) => row.on === on).map(({ calls }) => calls.toSorted());
    expect({ on, calls: recorders[on].take() }).toEqual({ on, calls: wanted });
  }
};

const committed = async (running: Promise<string>): Promise<void> => {
  expect(sites.agent.stateOf(await running)).toMatchObject({ kind: 'committed' });
};
const ids = async (): Promise<BackupId[]> => (await sites.listed()).map(({ id }) => id);
const restore = (backupId: BackupId, to: string | null): RestoreJobRequest => ({
  kind: 'restore',
  backupId,
  to,
  replace: to === null,
  receiver: 'dr',
  store: 'main',
});

it('a full backup', () => expectCalls('A full backup', () => committed(sites.backUp())));

it('an increment, without a change of the image and with one', async () => {
  await expectCalls('An increment', () => committed(sites.backUp()));
  sites.write(1);
  await expectCalls('An increment', () => committed(sites.backUp()));
});

it('a restore under a new name', async () => {
  const [, newest = '' as BackupId] = await ids();
  await expectCalls('A restore under a new name', () => committed(sites.run(restore(newest, 'rbd/back'))));
});

it('a deletion of one backup', async () => {
  const all = await ids();
  await expectCalls('A deletion of one backup of several', () =>
    sites.agent.delete({ kind: 'ids', ids: all.slice(-1) }),
  );
  expect(await ids()).toEqual(all.slice(0, -1));
});

it('a restore in place of its image', async () => {
  const [, newest = '' as BackupId] = await ids();
  await expectCalls('A restore in place of its image', () => committed(sites.run(restore(newest, null))));
});

it.each(Object.entries(callTables))('ARCHITECTURE.md shows the table of: %s', async (job, rows) => {
  const text = await readFile(new URL('../../ARCHITECTURE.md', import.meta.url), 'utf8');
  expect(text).toContain(`**${job}**\n\n${renderTable(rows)}\n`);
});
