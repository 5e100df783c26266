import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { parseBackupId, type BackupIdParts, type ChainName } from '@rbdferry/core/model/backup-id.js';
import type { Backup, Chain, ChainUsage } from '@rbdferry/core/model/chain.js';
import { describe, expect, it } from 'vitest';
import { ClientStore } from './client-store.js';
import type { HoldOptions, LookOptions, OpenedPull, PushIntent, RemoveOptions, Store } from './store/port.js';

const chainName = 'vm.2026-01-01.00:00:00.000000.bkp.image' as ChainName;

const idOf = (day: string): BackupIdParts => {
  const parsed = parseBackupId(`main/${chainName}@2026-01-${day}.00:00:00.000000.snap`);
  if (!parsed.ok) throw new Error(parsed.problem);
  return parsed.value;
};

const backupOf = (client: string | null) => ({ client }) as Backup;

/** A store that holds what it is given, and says what it was asked for. */
const storeWith = (backups: readonly Backup[], unreadable: readonly string[] = []) => {
  const asked: { removal?: RemoveOptions; hold?: HoldOptions; intent?: PushIntent; closed: number } = { closed: 0 };
  const tell = ({ onUnreadable }: LookOptions) => {
    for (const name of unreadable) {
      onUnreadable?.({ name: name as ChainName, error: new FerryError('CEPH_FAILED', `${name} is in pool secret`) });
    }
  };
  const store: Partial<Store> = {
    name: 'main',
    async *chains(_, options) {
      yield await Promise.resolve({ name: chainName, backups } as unknown as Chain);
      tell(options);
    },
    async *usage(_, options) {
      for (const [index, { client }] of backups.entries()) {
        const chain = index === 0 ? chainName : `other-${index}`;
        yield await Promise.resolve({ chain, client, backups: [{}] } as unknown as ChainUsage);
      }
      tell(options);
    },
    backup: () => Promise.resolve(backups[0] ?? backupOf(null)),
    read: () =>
      Promise.resolve({
        backup: backups[0],
        close: () => {
          asked.closed += 1;
        },
      } as unknown as OpenedPull),
    open: (intent) => {
      asked.intent = intent;
      return Promise.reject(new Error('enough'));
    },
    remove: (_, options) => {
      asked.removal = options;
      return Promise.reject(new Error('enough'));
    },
    setHold: (_, __, options) => {
      asked.hold = options;
      return Promise.reject(new Error('enough'));
    },
  };
  return { store: store as Store, asked };
};

const all = async <T>(items: AsyncIterable<T>): Promise<T[]> => {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
};

const mixed = [backupOf('agent1'), backupOf('agent2'), backupOf(null)];

describe('a client sees', () => {
  it('its own backups, and those of the older tool', async () => {
    const { store } = storeWith(mixed);
    const seen = await all(new ClientStore(store, 'agent1', { isAlone: false }).chains(null, {}));
    expect(seen).toMatchObject([{ kind: 'seen', value: { backups: [{ client: 'agent1' }, { client: null }] } }]);
    const usage = await all(
      new ClientStore(store, 'agent1', { isAlone: false }).usage({ image: null, chain: null }, {}),
    );
    expect(usage.map((told) => (told.kind === 'seen' ? told.value.client : 'unreadable'))).toEqual(['agent1', null]);
  });

  it('no chain that holds nothing of it', async () => {
    const { store } = storeWith([backupOf('agent2')]);
    expect(await all(new ClientStore(store, 'agent1', { isAlone: false }).chains(null, {}))).toEqual([]);
  });

  it("another client's backup as one that does not exist, and nothing stays open for it", async () => {
    const { store, asked } = storeWith([backupOf('agent2')]);
    const view = new ClientStore(store, 'agent1', { isAlone: false });
    const id = idOf('01');
    const gone = { code: 'BACKUP_NOT_FOUND', message: `there is no backup main/${chainName}@${id.snap}` };
    await expect(view.backup(id, {})).rejects.toMatchObject(gone);
    await expect(view.read(id, {})).rejects.toMatchObject(gone);
    expect(asked.closed).toBe(1);
  });

  it('usage of one chain when it asks for one', async () => {
    const { store } = storeWith([backupOf('agent1'), backupOf('agent1')], ['bad']);
    const view = new ClientStore(store, 'agent1', { isAlone: true });
    const usage = await all(view.usage({ image: null, chain: chainName }, {}));
    expect(usage).toMatchObject([{ kind: 'seen', value: { chain: chainName } }]);
  });
});

describe('a chain that cannot be read', () => {
  it.each([
    ['by its name, in a store of its own', true, 'bad', 'bad is in pool secret'],
    ['without a name, in one that it shares', false, '', 'a chain of the store cannot be read'],
  ])('is told %s', async (_, isAlone, name, message) => {
    const { store } = storeWith(mixed, ['bad']);
    const view = new ClientStore(store, 'agent1', { isAlone });
    for (const told of [await all(view.chains(null, {})), await all(view.usage({ image: null, chain: null }, {}))]) {
      expect(told.at(-1)).toMatchObject({ kind: 'unreadable', chain: { store: 'main', name, error: { message } } });
    }
  });
});

describe('what a client does', () => {
  it('is done in its name, to what it may see', async () => {
    const { store, asked } = storeWith(mixed);
    const view = new ClientStore(store, 'agent1', { isAlone: false });
    await view.remove(idOf('01'), { dryRun: true }).catch(() => {});
    expect(asked.removal).toMatchObject({ client: 'agent1', dryRun: true });
    expect(['agent1', 'agent2', null].map((owner) => asked.removal?.mayRemove(owner))).toEqual([true, false, true]);
    await view.setHold(idOf('01'), null, {}).catch(() => {});
    expect(asked.hold).toMatchObject({ client: 'agent1' });
    expect(['agent1', 'agent2', null].map((owner) => asked.hold?.maySee(owner))).toEqual([true, false, true]);
    await view.open({ snap: idOf('01').snap } as PushIntent, {}).catch(() => {});
    expect(asked.intent?.client).toBe('agent1');
  });
});
