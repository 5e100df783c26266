import { setTimeout as sleep } from 'node:timers/promises';
import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { chainNameOf, snapTime, type BackupIdParts, type Timestamp } from '@rbdferry/core/model/backup-id.js';
import type { Store } from '@rbdferry/receiver/store/port.js';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { partsOf, sha256OfRestored } from '../recipes/store.js';
import { chainsOf, notFound } from './looks.js';
import { Sender } from './sender.js';
import type { MortalStoreWorld } from './store-world.js';

/** What every kind of store promises to several who use it at once, and after a receiver that died. */
export const storeSharingSuite = (start: () => MortalStoreWorld | Promise<MortalStoreWorld>): void => {
  let world: MortalStoreWorld;
  let store: Store;
  let sender: Sender;
  let image = '';
  let base: BackupIdParts;
  let cases = 0;

  beforeAll(async () => {
    world = await start();
    sender = await Sender.make();
  });

  beforeEach(async () => {
    store = world.open();
    image = `shared-${(cases += 1)}`;
    base = partsOf((await sender.send(store, { image, at: 0 })).id);
  });

  afterEach(async () => {
    await store.close();
    expect(await world.writers()).toEqual([]);
  });

  afterAll(() => world?.stop());

  const asAgent1 = { dryRun: false, client: 'agent1', mayRemove: () => true };
  const snapsListed = async () => (await chainsOf(store, image)).flatMap(({ backups }) => backups.map(({ id }) => id));

  /** It has not ended, as far as a moment can show, and will be looked at again. */
  const expectWaiting = async (step: Promise<unknown>): Promise<void> => {
    const ended = step.then(
      () => 'done',
      () => 'failed',
    );
    expect(await Promise.race([ended, sleep(30, 'waiting')])).toBe('waiting');
  };

  describe('one writer a chain', () => {
    it.each(['commits', 'discards'])('a second one waits until the first %s', async (end) => {
      const first = await sender.begin(store, { image, at: 1, base });
      const second = sender.begin(store, { image, at: 2, base });
      await expectWaiting(second);
      if (end === 'commits') await first.push.commit(first.facts);
      else await first.push.discard();
      const { push, facts } = await second;
      const { id } = await push.commit(facts);
      expect(await snapsListed()).toContain(id);
      expect(await sha256OfRestored(store, partsOf(id))).toBe(sender.sha256(2));
      expect(await snapsListed()).toHaveLength(end === 'commits' ? 3 : 2);
    });

    it('one that gives up waiting leaves the first alone', async () => {
      const first = await sender.begin(store, { image, at: 1, base });
      const giving = new AbortController();
      const second = store.open(await sender.intent({ image, at: 2, base }), { signal: giving.signal });
      await expectWaiting(second);
      giving.abort(new FerryError('CANCELLED', 'the client went away'));
      await expect(second).rejects.toMatchObject({ code: 'CANCELLED' });
      const { id } = await first.push.commit(first.facts);
      expect(await sha256OfRestored(store, partsOf(id))).toBe(sender.sha256(1));
      expect(await snapsListed()).toHaveLength(2);
    });

    it('a removal waits as well', async () => {
      const { push, facts } = await sender.begin(store, { image, at: 1, base });
      const removal = store.remove(base, asAgent1);
      await expectWaiting(removal);
      const { id } = await push.commit(facts);
      expect(await removal).toMatchObject({ backupIds: [`main/${base.chain}@${base.snap}`] });
      expect(await snapsListed()).toEqual([id]);
      expect(await sha256OfRestored(store, partsOf(id))).toBe(sender.sha256(1));
    });

    it('chains do not wait for each other', async () => {
      const { push } = await sender.begin(store, { image, at: 1, base });
      const other = await sender.send(store, { image: `${image}-other`, at: 0 });
      expect(await sha256OfRestored(store, partsOf(other.id))).toBe(sender.sha256(0));
      await push.discard();
    });
  });

  describe('who asks for a backup that is being received', () => {
    it.each([true, false])('waits for the outcome (committed: %s)', async (isCommitted) => {
      const { push, facts } = await sender.begin(store, { image, at: 1, base });
      const asked = store.backup(partsOf(push.backupId), {});
      await expectWaiting(asked);
      if (isCommitted) expect(await push.commit(facts)).toEqual(await asked);
      else await Promise.all([push.discard(), expect(asked).rejects.toEqual(notFound)]);
    });

    it.each(['a full', 'an increment'])('waits also while the transfer is being opened: %s', async (kind) => {
      const isFull = kind === 'a full';
      const intent = await sender.intent(isFull ? { image: `${image}-new`, at: 1 } : { image, at: 1, base });
      const chain = isFull ? chainNameOf(`${image}-new`, snapTime(intent.snap) ?? ('' as Timestamp)) : base.chain;
      const opening = store.open(intent, {});
      const asked = store.backup({ store: store.name, chain, snap: intent.snap }, {});
      await expectWaiting(asked);
      const push = await opening;
      await Promise.all([push.discard(), expect(asked).rejects.toEqual(notFound)]);
    });

    it('waits for none that is received into the same chain', async () => {
      const { push } = await sender.begin(store, { image, at: 1, base });
      expect(await store.backup(base, {})).toMatchObject({ snap: base.snap });
      expect(await snapsListed()).toHaveLength(1);
      expect(await sha256OfRestored(store, base)).toBe(sender.sha256(0));
      await push.discard();
    });
  });

  it('a backup that is read is not removed before it was read', async () => {
    const pull = await store.read(base, {});
    const removal = store.removeChain(base.chain, asAgent1);
    await expectWaiting(removal);
    let bytes = 0;
    for await (const chunk of pull.stream) bytes += chunk.bytes.length;
    expect(bytes).toBeGreaterThan(50_000);
    pull.close();
    await removal;
    await expect(store.read(base, {})).rejects.toEqual(notFound);
  });

  describe('a receiver that dies in the middle of a transfer', () => {
    it.each(['a full', 'an increment'])('of %s leaves what the next one cleans up', async (kind) => {
      const before = await world.contents();
      const what = kind === 'a full' ? { image, at: 1 as const } : { image, at: 1 as const, base };
      const mortal = world.openMortal();
      const { push } = await sender.begin(mortal.store, what, { half: true });
      await mortal.die();
      await push.discard();
      await mortal.store.close();
      expect(await world.contents()).not.toEqual(kind === 'a full' ? before : []);
      const next = world.open();
      expect(await next.recover({})).toHaveLength(1);
      expect(await next.recover({})).toEqual([]);
      expect(await world.contents()).toEqual(before);
      await expect(next.backup(partsOf(push.backupId), {})).rejects.toEqual(notFound);
      const { id } = await sender.send(next, { image, at: 2, base });
      expect(await sha256OfRestored(next, partsOf(id))).toBe(sender.sha256(2));
      await next.close();
    });
  });
};
