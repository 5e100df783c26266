import type { Backup } from '@rbdferry/core/model/chain.js';
import type { Store } from '@rbdferry/receiver/store/port.js';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { partsOf } from '../recipes/store.js';
import { notFound, wholeBackups } from './looks.js';
import { Sender } from './sender.js';
import type { StoreWorld } from './store-world.js';

/** What every kind of store promises of removals, and of what backups take up. */
export const storeRemovalsSuite = (start: () => StoreWorld | Promise<StoreWorld>): void => {
  let world: StoreWorld;
  let store: Store;
  let sender: Sender;

  beforeAll(async () => {
    world = await start();
    store = world.open();
    sender = await Sender.make();
  });

  afterAll(async () => {
    await store?.close();
    await world?.stop();
  });

  const asAgent1 = { dryRun: false, client: 'agent1', mayRemove: (client: string | null) => client === 'agent1' };
  const wholeBackupsOf = (image: string) => wholeBackups(store, sender, image);

  it.each([0, 1, 2])('a removal of the backup at place %i of three leaves the others whole', async (place) => {
    const image = `place-${place}`;
    const made = (await sender.chain(store, image, 3)).map(({ id }) => id);
    const id = partsOf(made[place] ?? ('' as Backup['id']));
    const left = made.filter((_, index) => index !== place);
    await store.remove(id, { ...asAgent1, dryRun: true });
    await expect(store.remove(id, { ...asAgent1, mayRemove: () => false })).rejects.toEqual(notFound);
    expect(await wholeBackupsOf(image)).toEqual(made);
    expect(await store.remove(id, asAgent1)).toMatchObject({ backupIds: [made[place]], kept: [], chainRemoved: false });
    expect(await wholeBackupsOf(image)).toEqual(left);
    await expect(store.remove(id, asAgent1)).rejects.toEqual(notFound);
  });

  it('the removal of the last backup, or of the chain, leaves nothing', async () => {
    const before = await world.contents();
    const [only] = await sender.chain(store, 'last', 1);
    if (only === undefined) throw new Error('no backup');
    expect(await store.remove(partsOf(only.id), asAgent1)).toMatchObject({ chainRemoved: true });
    expect(await world.contents()).toEqual(before);

    const made = await sender.chain(store, 'last', 2);
    const { chain } = partsOf(only.id);
    await expect(store.removeChain(chain, { ...asAgent1, mayRemove: () => false })).rejects.toEqual(notFound);
    await store.removeChain(chain, { ...asAgent1, dryRun: true });
    expect(await wholeBackupsOf('last')).toEqual(made.map(({ id }) => id));
    const removed = await store.removeChain(chain, asAgent1);
    expect(removed).toMatchObject({ backupIds: made.map(({ id }) => id), kept: [], chainRemoved: true });
    expect(await world.contents()).toEqual(before);
    await expect(store.removeChain(chain, asAgent1)).rejects.toEqual(notFound);
  });

  it('usage tells of each backup what it added, and anew when the one before it has gone', async () => {
    const made = await sender.chain(store, 'used', 3);
    const usage = async (): Promise<{ id: string; added: bigint }[]> => {
      const found: { id: string; added: bigint }[] = [];
      for await (const { backups } of store.usage('used', {}))
        found.push(...backups.map(({ id, addedBytes }) => ({ id, added: addedBytes })));
      return found;
    };
    const first = await usage();
    expect(first.map(({ id }) => id)).toEqual(made.map(({ id }) => id));
    for (const { added } of first) expect(added).toBeGreaterThan(0n);
    expect(await usage()).toEqual(first);
    const [, middle] = made;
    if (middle === undefined) throw new Error('no backup');
    await store.remove(partsOf(middle.id), asAgent1);
    const after = await usage();
    expect(after.map(({ id }) => id)).toEqual([made[0]?.id, made[2]?.id]);
    expect(after[0]).toEqual(first[0]);
    // What the one in the middle had written belongs to its successor now.
    expect(after[1]?.added).toBeGreaterThan(first[2]?.added ?? 0n);
  });
};
