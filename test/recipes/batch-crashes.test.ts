import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BackupBatch } from '@rbdferry/agent/batch/batch-jobs.js';
import type { ImageSpec } from '@rbdferry/core/model/image-spec.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { randomBytes } from '../ceph/image-content.js';
import { fakeCeph } from '../fake-ceph/fake-ceph.js';
import { partsOf, sha256OfRestored } from './store.js';
import { imageLayout, TwoSites, type Side } from './two-sites.js';

/** A batch whose agent or receiver dies before or after any call. The agent's next life goes on with what is left: nothing twice, nothing lost. */
let directory: string;
let scenes = 0;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'rbdferry-batch-'));
});

afterAll(() => rm(directory, { recursive: true, force: true }));

const images: ImageSpec[] = ['one', 'two'].map((image) => ({ pool: 'rbd', namespace: '', image }));
const request: BackupBatch = {
  kind: 'batch',
  of: 'backup',
  selection: { images: [], pools: ['rbd'], allPools: false, match: [], exclude: [] },
  mode: 'auto',
  receiver: 'dr',
  store: 'main',
};

/** Two images; the first one has a backup. */
const prepare = async (): Promise<TwoSites> => {
  const sites = new TwoSites(join(directory, `${(scenes += 1)}`));
  for (const spec of images) {
    await fakeCeph(sites.source).create(spec, imageLayout);
    sites.source.write(spec, 0, randomBytes(spec.image, 30_000));
  }
  await sites.run({ ...request, selection: { ...request.selection, pools: [], images: ['rbd/one'] } });
  for (const spec of images) sites.source.write(spec, 40_000, randomBytes(`${spec.image} again`, 10_000));
  return sites;
};

const snapshotsOf = async (sites: TwoSites, spec: ImageSpec): Promise<string[]> =>
  (await fakeCeph(sites.source).snapshots(spec)).map(({ name }) => name);

/** Every backup that is listed, by the name of its image. */
const listed = async (sites: TwoSites): Promise<Map<string, string[]>> => {
  const backups = await sites.listed();
  const of = ({ image }: ImageSpec) => backups.filter(({ source }) => source?.identity.image.image === image);
  return new Map(images.map((spec) => [spec.image, of(spec).map(({ id }) => id)]));
};

const check = async (sites: TwoSites, wanted: { one: number; two: number } | null): Promise<void> => {
  const backups = await listed(sites);
  if (wanted !== null) {
    expect({ one: backups.get('one')?.length, two: backups.get('two')?.length }).toEqual(wanted);
  }
  for (const spec of images) {
    const newest = backups.get(spec.image)?.at(-1);
    // Of what is listed the last one is on the source, and nothing else of ours.
    const snaps = await snapshotsOf(sites, spec);
    expect({ image: spec.image, snaps }).toEqual({
      image: spec.image,
      snaps: newest === undefined ? [] : [partsOf(newest).snap],
    });
    if (wanted === null || newest === undefined) continue;
    expect(await sha256OfRestored(sites.store, partsOf(newest))).toBe(sites.source.sha256(spec));
  }
  sites.wait(25 * 3_600_000);
  await sites.agent.settle();
  expect(sites.agent.looseEnds()).toEqual([]);
};

const never = { side: 'agent', at: Number.POSITIVE_INFINITY, when: 'before' } as const;

describe.each<Side>(['agent', 'receiver'])('when the %s dies at any call', (side) => {
  it('a batch comes to its end', { timeout: 600_000 }, async () => {
    const counting = await prepare();
    const calls = await counting.willDie(never);
    await counting.run(request);
    await counting.settled();
    const names = [...calls[side]];
    await check(counting, { one: 2, two: 1 });
    await counting.close();
    expect(names.length).toBeGreaterThan(10);
    for (const [index, name] of names.entries()) {
      for (const when of ['before', 'after'] as const) {
        const sites = await prepare();
        await sites.willDie({ side, at: index + 1, when });
        const job = await sites.run(request);
        await sites.settled();
        await sites.recover();
        await sites.agent.resume();
        await sites.settled();
        const { kind } = sites.agent.stateOf(job);
        const says = (cause: unknown): never => {
          throw new Error(`died ${when} ${name}`, { cause });
        };
        // A receiver that dies takes transfers along, which are told as failed; the agent's next life goes on.
        if (side === 'agent') expect({ when, name, kind }).toEqual({ when, name, kind: 'committed' });
        await check(sites, kind === 'committed' ? { one: 2, two: 1 } : null).catch(says);
        await sites.close();
      }
    }
  });
});
