import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RestoreJobRequest } from '@rbdferry/agent/restore/restore-jobs.js';
import type { ImageInfo } from '@rbdferry/core/ceph/port.js';
import type { BackupId } from '@rbdferry/core/model/backup-id.js';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { intercept } from '../fake-ceph/intercept.js';
import { fakeCeph } from '../fake-ceph/fake-ceph.js';
import { TwoSites, vm } from './two-sites.js';

/** What happens, while a backup is restored in place of an image, to the image that is to be replaced: it may have taken hours. */
let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'rbdferry-in-place-'));
});

afterAll(() => rm(directory, { recursive: true, force: true }));

let scenes = 0;

/** Restores the image's backup over it; `meanwhile` runs while the data comes. Answers the job's state. */
const restoreOver = async ({ meanwhile, group }: { meanwhile: (sites: TwoSites) => unknown; group?: string }) => {
  let isBegun = false;
  let hasRun = false;
  const sites: TwoSites = new TwoSites(join(directory, `${(scenes += 1)}`), {
    watch: (side, port) =>
      intercept(port, {
        async around({ name, text }, run) {
          if (side === 'agent' && isBegun && name === 'importDiff.finish' && !hasRun) {
            hasRun = true;
            await meanwhile(sites);
          }
          const answer = await run();
          const isTarget = hasRun && text === 'info rbd/vm';
          return isTarget && group !== undefined ? ({ ...(answer as ImageInfo), group } as typeof answer) : answer;
        },
      }),
  });
  await sites.createImage();
  sites.write(0);
  await sites.backUp();
  sites.write(1);
  const content = sites.source.sha256(vm);
  const backupId = (await sites.listed())[0]?.id ?? ('' as BackupId);
  isBegun = true;
  const request: RestoreJobRequest = {
    kind: 'restore',
    backupId,
    to: null,
    replace: true,
    receiver: 'dr',
    store: 'main',
  };
  const state = sites.agent.stateOf(await sites.run(request));
  const names = await fakeCeph(sites.source).list(vm);
  await sites.close();
  return { state, names, content, now: () => sites.source.sha256(vm), hasRun };
};

it('is replaced when nothing happens', async () => {
  const { state, names, content, now } = await restoreOver({ meanwhile: () => {} });
  expect(state.kind).toBe('committed');
  expect(names).toEqual(['vm']);
  expect(now()).not.toBe(content);
});

it.each([
  [
    'is opened by somebody',
    'IMAGE_IN_USE',
    { meanwhile: ({ source }: TwoSites) => source.image(vm, 'open it').watchers.add('guest') },
  ],
  ['becomes a member of a group', 'IMAGE_PROTECTED', { meanwhile: () => {}, group: 'night' }],
])('an image that %s stays as it was', async (_, code, during) => {
  const { state, names, content, now, hasRun } = await restoreOver(during);
  expect(hasRun).toBe(true);
  expect(state).toMatchObject({ kind: 'failed', error: { code } });
  expect(names).toEqual(['vm']);
  expect(now()).toBe(content);
});

it('an image that was removed meanwhile is there again', async () => {
  const { state, names, content, now } = await restoreOver({
    meanwhile: async ({ source }: TwoSites) => {
      const ceph = fakeCeph(source);
      for (const { name } of await ceph.snapshots(vm)) await ceph.removeSnapshot(vm, name);
      await ceph.remove(vm);
    },
  });
  expect(state.kind).toBe('committed');
  expect(names).toEqual(['vm']);
  expect(now()).not.toBe(content);
});
