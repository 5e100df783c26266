import { setTimeout } from 'node:timers/promises';
import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { ImageSpec } from '@rbdferry/core/model/image-spec.js';
import type { Options } from '../port.js';
import type { ChainView } from './chain-view.js';
import type { StoreContext } from './context.js';
import type { Keepers } from './removal-plan.js';

/** What keeps these snapshots of a chain from being removed: a clone that somebody made to look into a backup, a protection. */
export const keepersOfSnapshots = async (
  { ceph, reader }: StoreContext,
  view: ChainView,
  snaps: readonly string[],
  options: Options,
): Promise<Map<string, string>> => {
  const image = reader.image(view.chain.name);
  const { hasClones } = await ceph.info(image, options);
  const keepers = new Map<string, string>();
  for (const { name, protected: isProtected } of view.snapshots) {
    if (!(hasClones || isProtected) || !snaps.includes(name)) continue;
    const clones = await ceph.clones(image, name, options);
    if (clones.length > 0) keepers.set(name, `it has a clone: ${clones.join(', ')}`);
    else if (isProtected) keepers.set(name, 'it is protected (`rbd snap unprotect`)');
  }
  return keepers;
};

/** What keeps a whole chain. */
export const keepersOf = async (context: StoreContext, view: ChainView, options: Options): Promise<Keepers> => {
  const snaps = view.chain.backups.map(({ snap }) => snap as string);
  // At the same time: together they are one opening of the image.
  const [snapshots, image] = await Promise.all([
    keepersOfSnapshots(context, view, snaps, options),
    keeperOfImage(context, view, snaps, options),
  ]);
  return { snapshots, image };
};

const keeperOfImage = async (
  { ceph, reader }: StoreContext,
  view: ChainView,
  ours: readonly string[],
  options: Options,
): Promise<string | null> => {
  const image = reader.image(view.chain.name);
  const foreign = view.snapshots.filter(({ name }) => !ours.includes(name) && name !== view.unfinished);
  if (foreign.length > 0) {
    return `its image has a snapshot that rbdferry did not make: ${foreign.map(({ name }) => `"${name}"`).join(', ')}`;
  }
  const [users, hidden] = await Promise.all([
    usersOf(ceph, image, { forMs: briefMs, ...options }),
    ceph.hiddenSnapshots(image, options),
  ]);
  if (hidden.length > 0) return `its image has a snapshot that Ceph keeps: ${hidden.join(', ')}`;
  return users.length === 0 ? null : `its image is in use by ${users.join(', ')}`;
};

/** Our own commands that look at an image count as its users for a moment. */
const briefMs = 3_000;
/** The watcher of a client that was killed stays for 30 s. */
const deadClientMs = 45_000;
const lookAgainMs = 500;

/** Who has the image open for writing, after having waited for a while that they go. */
const usersOf = async (
  ceph: StoreContext['ceph'],
  image: ImageSpec,
  { forMs, signal }: Options & { readonly forMs: number },
): Promise<string[]> => {
  const until = performance.now() + forMs;
  for (;;) {
    const users = await ceph.watchers(image, { signal });
    if (users.length === 0 || performance.now() > until) return users;
    await setTimeout(lookAgainMs, undefined, { signal });
  }
};

/**
 * Waits until nobody writes into an image any more: a command of a receiver that was killed may outlive it, and would write into what we
 * put right. @throws IMAGE_IN_USE
 */
export const untilUnused = async ({ ceph }: StoreContext, image: ImageSpec, options: Options): Promise<void> => {
  const users = await usersOf(ceph, image, { forMs: deadClientMs, ...options });
  if (users.length === 0) return;
  throw new FerryError('IMAGE_IN_USE', `the image ${image.image} is still in use by ${users.join(', ')}`);
};
