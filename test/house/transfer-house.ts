import { createHash } from 'node:crypto';
import { expect, vi } from 'vitest';
import { TransferClient } from '../blackbox/transfer-client.js';
import { Caller, tlsOf } from '../blackbox/wire.js';
import { startHouse, type House } from './house.js';

/** A receiver on a cluster in memory, and clients of it that are made of the .proto files alone. */
export interface TransferHouse {
  readonly house: House;
  /** May use both stores, `rbd2` and `other`. */
  readonly agent1: TransferClient;
  /** May use `rbd2`. */
  readonly agent2: TransferClient;
  /** Has a certificate of the same CA, and the receiver does not know it. */
  readonly stranger: TransferClient;
  /** Everything there is at the receiver's, when nothing is done in the background any more. */
  state(): Promise<StoreState>;
  /** The receiver's cluster is, or soon becomes, what it was then, and nothing is open in it. */
  expectUnchanged(since: StoreState): Promise<void>;
  stop(): Promise<void>;
}

interface StoreState {
  readonly everything: readonly string[];
  /** Of all contents, facts and ids as well. */
  readonly fingerprint: string;
  readonly watchers: readonly string[];
}

export const pool = 'rbd2';

export const startTransferHouse = async (): Promise<TransferHouse> => {
  const house = await startHouse({
    stores: [pool, 'other'],
    receiver: { clients: { agent1: { stores: [pool, 'other'] }, agent2: { stores: [pool] } } },
  });
  const pki = `${house.dir}/pki`;
  for (const name of ['agent2', 'stranger']) await house.ok('pki', 'issue', name, '--dir', pki);
  const address = `localhost:${String(house.receiver.record('ready')?.['port'])}`;
  const connect = async (name: string) =>
    new TransferClient(new Caller('TransferService', address, await tlsOf(pki, name)), pool);
  const clients = {
    agent1: await connect('agent1'),
    agent2: await connect('agent2'),
    stranger: await connect('stranger'),
  };
  const { cluster } = house.backup;
  const now = (): StoreState => ({
    everything: cluster.everything(),
    fingerprint: createHash('sha256').update(cluster.fingerprint()).digest('hex'),
    watchers: cluster.allWatchers(),
  });
  return {
    house,
    ...clients,
    async state() {
      await vi.waitFor(() => expect(unmeasured(cluster.everything())).toEqual([]));
      return { ...now(), watchers: [] };
    },
    expectUnchanged: (since) => vi.waitFor(() => expect(now()).toEqual(since), { interval: 10, timeout: 5_000 }),
    async stop() {
      for (const client of Object.values(clients)) client.close();
      await house.stop();
    },
  };
};

/** Backups of which it is not written down yet what they added. */
const unmeasured = (everything: readonly string[]): string[] =>
  everything.filter(
    (line) =>
      line.includes(' rbdferry.backup.') && !everything.includes(line.replace(' rbdferry.backup.', ' rbdferry.usage.')),
  );
