import { RbdLife } from '@rbdferry/core/transfer/life.js';
import type { BackupIdParts } from '@rbdferry/core/model/backup-id.js';
import type { Backup } from '@rbdferry/core/model/chain.js';
import type { Store } from '@rbdferry/receiver/store/port.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { partsOf } from '../recipes/store.js';
import { chainsOf, notFound, wholeBackups } from './looks.js';
import { Sender } from './sender.js';
import type { StoreWorld } from './store-world.js';

type Kind = 'a full' | 'an increment';

/**
 * What every kind of store promises of one transfer after the other.
 *
 * @param kinds of transfers that are left uncommitted: on a slow world one of them will do
 */
export const storeTransfersSuite = (
  start: () => StoreWorld | Promise<StoreWorld>,
  kinds: readonly Kind[] = ['a full', 'an increment'],
): void => {
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

  const wholeBackupsOf = (image: string) => wholeBackups(store, sender, image);

  it('gives back what was committed, in full and as increments, and lists it in order', async () => {
    const made = await sender.chain(store, 'good', 3);
    expect(made.map(({ kind, baseId, client }) => ({ kind, baseId, client }))).toEqual([
      { kind: 'full', baseId: null, client: 'agent1' },
      { kind: 'incremental', baseId: made[0]?.id, client: 'agent1' },
      { kind: 'incremental', baseId: made[1]?.id, client: 'agent1' },
    ]);
    expect(await wholeBackupsOf('good')).toEqual(made.map(({ id }) => id));
    const chains = await chainsOf(store, 'good');
    expect(chains.map(({ active, legacy, backups }) => ({ active, legacy, backups }))).toEqual([
      { active: true, legacy: false, backups: made },
    ]);
    expect(await world.writers()).toEqual([]);
  });

  it('builds on any backup of a chain, whatever came after it', async () => {
    const image = 'forked';
    const base = partsOf((await sender.send(store, { image, at: 0 })).id);
    for (const at of [2, 1] as const) await sender.send(store, { image, at, base });
    expect(await wholeBackupsOf(image)).toHaveLength(3);
  });

  describe.each(kinds)('a transfer of %s that is not committed', (kind) => {
    const image = kind === 'a full' ? 'left-full' : 'left-increment';
    let base: BackupIdParts | null = null;
    let listed: string[] = [];

    beforeAll(async () => {
      if (kind === 'a full') return;
      base = partsOf((await sender.send(store, { image, at: 0 })).id);
      listed = await wholeBackupsOf(image);
    });

    const leaveNothing = async (step: () => Promise<void>): Promise<void> => {
      const before = await world.contents();
      await step();
      expect(await world.contents()).toEqual(before);
      expect(await world.writers()).toEqual([]);
      expect(await wholeBackupsOf(image)).toEqual(listed);
    };

    it('leaves everything as it was: discarded before it began', () =>
      leaveNothing(async () => {
        const push = await store.open(await sender.intent({ image, at: 1, base }), {});
        await push.discard();
        await expect(store.backup(partsOf(push.backupId), {})).rejects.toEqual(notFound);
      }));

    it('leaves everything as it was: discarded with nothing written', () =>
      leaveNothing(async () => {
        const push = await store.open(await sender.intent({ image, at: 1, base }), {});
        push.begin(new RbdLife('backup'));
        await push.discard();
      }));

    it.each([true, false])('leaves everything as it was: discarded when it is written (half of it: %s)', (half) =>
      leaveNothing(async () => {
        const { push } = await sender.begin(store, { image, at: 1, base }, { half });
        await push.discard();
        await push.discard();
        await expect(store.read(partsOf(push.backupId), {})).rejects.toEqual(notFound);
      }),
    );

    it('leaves everything as it was: a commit of what is not whole fails', () =>
      leaveNothing(async () => {
        const push = await store.open(await sender.intent({ image, at: 1, base }), {});
        const { chunks, facts } = await sender.stream({ image, at: 1, base });
        push.begin(new RbdLife('backup'));
        await push.write(chunks[0]?.subarray(0, -1_000) ?? new Uint8Array());
        await expect(push.commit(facts)).rejects.toThrow();
      }));

    it('is followed by one that is, which no later discard undoes', async () => {
      const { push, facts } = await sender.begin(store, { image, at: 2, base });
      const { id } = await push.commit(facts);
      await push.discard();
      expect(await wholeBackupsOf(image)).toEqual([...listed, id]);
    });
  });

  it('an opening that cannot be right leaves everything as it was', async () => {
    const [first] = await sender.chain(store, 'refused', 1);
    const base = partsOf(first?.id ?? ('' as Backup['id']));
    const before = await world.contents();
    const missing = { ...base, snap: (await sender.intent({ image: 'x', at: 2 })).snap };
    const open = async (what: Parameters<Sender['intent']>[0]) => store.open(await sender.intent(what), {});
    await expect(open({ image: 'refused', at: 1, base: missing })).rejects.toEqual(notFound);
    await expect(open({ image: 'refused', at: 1, base, client: 'agent2' })).rejects.toEqual(notFound);
    await expect(open({ image: 'refused', at: 0, base })).rejects.toMatchObject({ code: 'SNAPSHOT_EXISTS' });
    expect(await world.contents()).toEqual(before);
  });

  it('the next receiver finds everything as it was, and nothing to clean up', async () => {
    const made = await sender.chain(store, 'stays', 2);
    await store.close();
    const before = await world.contents();
    store = world.open();
    expect(await store.recover({})).toEqual([]);
    expect(await world.contents()).toEqual(before);
    expect(await wholeBackupsOf('stays')).toEqual(made.map(({ id }) => id));
  });
};
