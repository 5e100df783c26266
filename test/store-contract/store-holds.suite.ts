import type { Removed, Store } from '@rbdferry/receiver/store/port.js';
import type { BackupIdParts } from '@rbdferry/core/model/backup-id.js';
import type { Backup } from '@rbdferry/core/model/chain.js';
import { afterEach, beforeAll, beforeEach, afterAll, describe, expect, it } from 'vitest';
import { partsOf } from '../recipes/store.js';
import { chainsOf, notFound, wholeBackups } from './looks.js';
import { Sender } from './sender.js';
import type { MortalStoreWorld } from './store-world.js';

/** What every kind of store promises of backups that are held. */
export const storeHoldsSuite = (start: () => MortalStoreWorld | Promise<MortalStoreWorld>): void => {
  let world: MortalStoreWorld;
  let store: Store;
  let sender: Sender;
  let image = '';
  let made: Backup[] = [];
  let cases = 0;

  beforeAll(async () => {
    world = await start();
    sender = await Sender.make();
  });

  beforeEach(async () => {
    store = world.open();
    image = `held-${(cases += 1)}`;
    made = await sender.chain(store, image, 3);
  });

  afterEach(() => store.close());
  afterAll(() => world?.stop());

  const asAgent1 = { client: 'agent1', maySee: () => true };
  const removal = { dryRun: false, client: 'agent1', mayRemove: () => true };
  const terms = { untilMs: null, reason: 'audit' };
  const held = expect.objectContaining({ code: 'BACKUP_HELD' }) as Error;

  const at = (place: number): BackupIdParts => partsOf(made[place]?.id ?? ('' as Backup['id']));
  const ids = (...places: number[]) => places.map((place) => made[place]?.id);
  const left = () => wholeBackups(store, sender, image);
  const holdsListed = async () =>
    (await chainsOf(store, image)).flatMap(({ backups }) => backups.map(({ hold }) => hold?.reason ?? null));

  it('a held one is told with its hold, and is not removed; the others are', async () => {
    const { backup, before } = await store.setHold(at(1), terms, asAgent1);
    expect(before).toBeNull();
    expect(backup).toMatchObject({ id: made[1]?.id, hold: { ...terms, client: 'agent1' } });
    expect(await store.backup(at(1), {})).toEqual(backup);
    expect(await holdsListed()).toEqual([null, 'audit', null]);
    for (const dryRun of [true, false]) {
      await expect(store.remove(at(1), { ...removal, dryRun })).rejects.toEqual(held);
    }
    await store.remove(at(0), removal);
    await store.remove(at(2), removal);
    await expect(store.remove(at(1), removal)).rejects.toEqual(held);
    expect(await left()).toEqual(ids(1));
  });

  it('a chain goes but for what is held, as the dry run says', async () => {
    await store.setHold(at(1), terms, asAgent1);
    const outcome = ({ backupIds, kept, chainRemoved }: Removed) => ({
      backupIds,
      kept: kept.map(({ id, reason }) => [id, reason.code]),
      chainRemoved,
    });
    const foretold = outcome(await store.removeChain(at(0).chain, { ...removal, dryRun: true }));
    expect(foretold).toEqual({ backupIds: ids(0, 2), kept: [[made[1]?.id, 'BACKUP_HELD']], chainRemoved: false });
    expect(await left()).toEqual(ids(0, 1, 2));
    expect(outcome(await store.removeChain(at(0).chain, removal))).toEqual(foretold);
    expect(await left()).toEqual(ids(1));
  });

  it('one that is released, or whose hold has ended, is a backup like any other and leaves nothing', async () => {
    const before = await world.contents();
    await store.setHold(at(0), terms, asAgent1);
    expect(await store.setHold(at(0), null, asAgent1)).toMatchObject({ backup: { hold: null }, before: terms });
    expect(await store.setHold(at(0), null, asAgent1)).toMatchObject({ backup: { hold: null }, before: null });
    expect(await world.contents()).toEqual(before);
    const untilMs = world.clock.nowMs + 60_000;
    await store.setHold(at(0), { untilMs, reason: '' }, asAgent1);
    await expect(store.remove(at(0), removal)).rejects.toEqual(held);
    world.clock.nowMs = untilMs;
    expect(await holdsListed()).toEqual([null, null, null]);
    expect((await store.backup(at(0), {})).hold).toBeNull();
    await store.remove(at(0), removal);
    expect(await left()).toEqual(ids(1, 2));
    await store.removeChain(at(0).chain, removal);
    expect((await world.contents()).filter((line) => line.includes(image))).toEqual([]);
  });

  it('a hold in place of another', async () => {
    await store.setHold(at(0), terms, asAgent1);
    const untilMs = world.clock.nowMs + 1;
    expect(await store.setHold(at(0), { untilMs, reason: 'else' }, asAgent1)).toMatchObject({
      backup: { hold: { untilMs, reason: 'else' } },
      before: { untilMs: null, reason: 'audit' },
    });
    expect(await holdsListed()).toEqual(['else', null, null]);
  });

  it('a hold survives transfers that fail and that do not, and receivers', async () => {
    await store.setHold(at(0), terms, asAgent1);
    const again = `${image}-again`;
    await sender.send(store, { image: again, at: 0 });
    const first = partsOf((await chainsOf(store, again))[0]?.backups[0]?.id ?? ('' as Backup['id']));
    await store.setHold(first, terms, asAgent1);
    const { push } = await sender.begin(store, { image: again, at: 1, base: first }, { half: true });
    await push.discard();
    await sender.send(store, { image: again, at: 2, base: first });
    const mortal = world.openMortal();
    await sender.begin(mortal.store, { image: again, at: 1, base: first }, { half: true });
    await mortal.die();
    await store.close();
    store = world.open();
    await store.recover({});
    expect(await holdsListed()).toEqual(['audit', null, null]);
    await expect(store.remove(at(0), removal)).rejects.toEqual(held);
    await expect(store.remove(first, removal)).rejects.toEqual(held);
    expect(await left()).toEqual(ids(0, 1, 2));
  });

  it('what cannot be: no such backup, somebody else’s, a time that is past, a reason that is a book', async () => {
    const before = await world.contents();
    const setHold = (id: BackupIdParts, over: object = {}, who: object = {}) =>
      store.setHold(id, { ...terms, ...over }, { ...asAgent1, ...who });
    const noChain = { ...at(0), chain: at(0).chain.replace('held', 'none') as BackupIdParts['chain'] };
    await expect(setHold(noChain)).rejects.toEqual(notFound);
    await expect(
      setHold({ ...at(0), snap: '2001-01-01.00:00:00.000000.snap' as BackupIdParts['snap'] }),
    ).rejects.toEqual(notFound);
    await expect(setHold(at(0), {}, { maySee: () => false })).rejects.toEqual(notFound);
    await expect(setHold(at(0), { untilMs: world.clock.nowMs })).rejects.toMatchObject({ code: 'INVALID_REQUEST' });
    await expect(setHold(at(0), { reason: 'x'.repeat(1001) })).rejects.toMatchObject({ code: 'INVALID_REQUEST' });
    expect(await world.contents()).toEqual(before);
  });

  describe('against a removal that is under way either the hold is refused, or it stands', () => {
    it.each([
      ['the backup', 'hold first'],
      ['the backup', 'removal first'],
      ['the chain', 'hold first'],
      ['the chain', 'removal first'],
    ])('%s, the %s', async (what, order) => {
      const remove = () =>
        what === 'the chain' ? store.removeChain(at(0).chain, removal) : store.remove(at(1), removal);
      const hold = () => store.setHold(at(1), terms, asAgent1);
      const steps = order === 'hold first' ? [hold(), remove()] : [remove(), hold()];
      const results = await Promise.allSettled(steps);
      const isHeld = results[order === 'hold first' ? 0 : 1]?.status === 'fulfilled';
      expect(isHeld).toBe(order === 'hold first');
      const snaps = (await chainsOf(store, image)).flatMap(({ backups }) => backups.map(({ id }) => id));
      expect(snaps.includes(made[1]?.id ?? ('' as Backup['id']))).toBe(isHeld);
      const refused = results.find((each) => each.status === 'rejected');
      if (!isHeld) expect(refused?.reason).toEqual(notFound);
    });
  });
};
