import { PassThrough } from 'node:stream';
import type { Push, ReceiverClient } from '@rbdferry/agent/receiver-client/receiver-client.js';
import { abortReason, FerryError, throwIfAborted } from '@rbdferry/core/errors/ferry-error.js';
import { orThrow } from '@rbdferry/core/errors/parsed.js';
import { Compression, type PushRequest } from '@rbdferry/core/gen/rbdferry/v1/transfer.js';
import { parseBackupId, type BackupId } from '@rbdferry/core/model/backup-id.js';
import { Lease } from '@rbdferry/core/transfer/lease.js';
import { PeerLife, RbdLife } from '@rbdferry/core/transfer/life.js';
import { unlessAborted } from '@rbdferry/core/transfer/stall.js';
import { TransferStages } from '@rbdferry/core/transfer/transfer-stages.js';
import type { Removed, Store } from '@rbdferry/receiver/store/port.js';
import type { OpenTransfers } from '@rbdferry/receiver/transfer/open-transfers.js';
import { sendPull } from '@rbdferry/receiver/transfer/pull.js';
import { receivePush } from '@rbdferry/receiver/transfer/push.js';

/** A receiver that runs, without its server. */
export interface ReceiverProcess {
  readonly store: Store;
  readonly open: OpenTransfers;
  readonly dead: AbortSignal;
}

const client = 'agent1';
const stallMs = 60_000;
const partsOf = (id: BackupId) => orThrow(parseBackupId(id), 'INVALID_BACKUP_ID');
const removing = (dryRun: boolean) => ({ dryRun, client, mayRemove: () => true });
const gone = ({ backupIds, kept, trashedUntil }: Removed) => ({ ids: backupIds, kept, trashedUntil });

/**
 * A connection without sockets: the calls of a receiver's service, made straight into its store. When one end dies the other hears
 * CONNECTION_LOST at once, and nothing more goes over it in either direction.
 *
 * @throws RECEIVER_UNREACHABLE when the receiver does not live
 */
export const connectTo = (receiver: ReceiverProcess, agentDead: AbortSignal, now: () => number): ReceiverClient => {
  if (receiver.dead.aborted) throw new FerryError('RECEIVER_UNREACHABLE', 'the receiver is dead');
  const lost = new AbortController();
  const lose = () => lost.abort(new FerryError('CONNECTION_LOST', 'the connection broke'));
  for (const dead of [receiver.dead, agentDead]) dead.addEventListener('abort', lose);
  if (agentDead.aborted) lose();
  const { store, open } = receiver;

  const over = async <T>(step: (signal: AbortSignal) => Promise<T>, caller?: AbortSignal): Promise<T> => {
    throwIfAborted(lost.signal);
    const signal = caller === undefined ? lost.signal : AbortSignal.any([lost.signal, caller]);
    return unlessAborted(step(signal), signal);
  };
  async function* overEach<T>(items: AsyncIterable<T>, caller?: AbortSignal): AsyncGenerator<T, void, undefined> {
    const iterator = items[Symbol.asyncIterator]();
    try {
      for (;;) {
        const next = await over(() => iterator.next(), caller);
        if (next.done === true) return;
        yield next.value;
      }
    } finally {
      void iterator.return?.().catch(() => {});
    }
  }

  const connection: Pick<ReceiverClient, keyof ReceiverClient> = {
    name: 'dr',
    stores: [store.name],
    policies: new Map(),
    aheadMs: 0,
    compression: { kind: 'none' },
    now,
    close() {
      for (const dead of [receiver.dead, agentDead]) dead.removeEventListener('abort', lose);
    },
    chains: (_, image, { signal }) => overEach(store.chains(image, {}), signal),
    usage: (_, { image }, { signal }) => overEach(store.usage(image, {}), signal),
    compareWaits: () => Promise.resolve(),
    backup: (id, options) =>
      over(async (signal) => {
        await open.discardOf(client, ({ push }) => push.backupId === id);
        return store.backup(partsOf(id), { signal });
      }, options.signal),
    deleteBackup: (id, dryRun) =>
      over(async () => ({ ...gone(await store.remove(partsOf(id), removing(dryRun))), ids: [id], kept: [] })),
    deleteChain: (_, chain, dryRun) => over(async () => gone(await store.removeChain(chain, removing(dryRun)))),
    setHold: (id, terms) =>
      over(async () => {
        const { backup, before } = await store.setHold(partsOf(id), terms, { client, maySee: () => true });
        return { hold: backup.hold, before };
      }),
    openPush: ({ source, snap, baseId }, options) =>
      over(async (signal) => {
        const base = baseId === null ? null : partsOf(baseId);
        const intent = { source, snap, base, client };
        if (base !== null) await open.discardOf(client, (other) => other.intent.base?.chain === base.chain);
        const push = await store.open(intent, { signal });
        if (signal.aborted) {
          await push.discard();
          throw abortReason(signal);
        }
        return { transferId: open.add({ client, intent, push }), backupId: push.backupId };
      }, options.signal),
    push: (transferId) => over(() => Promise.resolve(pushOver(receiver, transferId, lost.signal))),
    async *pull(id, told, { signal, transferId }) {
      const pull = await over((either) => store.read(partsOf(id), { signal: either }), signal);
      const wishes = {
        backupId: id,
        transferId,
        limitBytesPerSecond: 0n,
        maxDataBytes: 0,
        compression: Compression.UNSPECIFIED,
      };
      const { meter } = new TransferStages('sender');
      const seen = lost.signal;
      const life = new RbdLife('backup');
      const messages = sendPull(pull, wishes, { stallMs, life, zstd: null, meter, signal: seen });
      for await (const { part } of overEach(messages, signal)) {
        if (part?.$case === 'data') yield { content: copyOf(Lease.claim(part.value)), frame: null };
        if (part?.$case === 'trailer') told.onTrailer(part.value);
      }
    },
  };
  return connection as ReceiverClient;
};

/** As if it had gone over the wire: in a buffer of the other end's. */
const copyOf = (sent: Lease): Lease => {
  const arrived = Lease.take(sent.bytes.length);
  arrived.bytes.set(sent.bytes);
  sent.release();
  return arrived;
};

const pushOver = (receiver: ReceiverProcess, transferId: string, lost: AbortSignal): Push => {
  const { push, intent } = receiver.open.take(transferId, client);
  const messages = new PassThrough({ objectMode: true }).on('error', () => {});
  const ending = new AbortController();
  const signal = AbortSignal.any([lost, ending.signal]);
  signal.addEventListener('abort', () => messages.destroy(abortReason(signal)));
  const stages = new TransferStages('taker');
  const lives = { rbd: new RbdLife('backup'), peer: new PeerLife('agent') };
  const received = receivePush(messages, push, { intent, stallMs, zstd: null, stages, lives, signal });
  received.catch(() => {});
  const write = (part: PushRequest['part']): Promise<void> =>
    new Promise((resolve, reject) => {
      messages.write({ part }, (error) => (error ? reject(error) : resolve()));
    });
  return {
    send: async ({ content }) => {
      const sent = write({ $case: 'data', value: copyOf(content).bytesForMessage });
      await unlessAborted(Promise.race([sent, received]), signal);
    },
    commit: async ({ streamBytes, streamGmac }) => {
      const end = { streamBytes, streamGmac: Buffer.from(streamGmac), waits: undefined };
      await unlessAborted(Promise.race([write({ $case: 'commit', value: end }), received]), signal);
      return unlessAborted(received, signal);
    },
    cancel: () => {
      ending.abort(new FerryError('CANCELLED', 'the sender gave up'));
    },
  };
};
