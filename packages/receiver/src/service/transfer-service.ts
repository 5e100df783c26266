import type { OpenPushRequest, PushRequest, TransferServiceServer } from '@rbdferry/core/gen/rbdferry/v1/transfer.js';
import type { Zstd } from '@rbdferry/core/compress/zstd.js';
import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { orThrow } from '@rbdferry/core/errors/parsed.js';
import { parseBackupId } from '@rbdferry/core/model/backup-id.js';
import type { Backup } from '@rbdferry/core/model/chain.js';
import type { StoreRules } from '@rbdferry/core/model/retention/policy.js';
import { createHandlers, type CallContext, type FailureListener } from '@rbdferry/core/rpc/handlers.js';
import { agreeOnProtocol, software, zstdCapability } from '@rbdferry/core/rpc/protocol.js';
import { PeerLife, RbdLife, type Lives } from '@rbdferry/core/transfer/life.js';
import { Lease } from '@rbdferry/core/transfer/lease.js';
import {
  backupToWire,
  chainNameFromWire,
  chainToWire,
  holdTermsFromWire,
  holdToWire,
  usageToWire,
  requireField,
  silenceToWire,
  snapFromWire,
  sourceFromWire,
  waitsFromWire,
  waitsToWire,
} from '@rbdferry/core/wire/convert.js';
import { keptToWire } from '@rbdferry/core/wire/kept-backup.js';
import { rulesToWire } from '@rbdferry/core/wire/retention.js';
import { unreadableToWire } from '@rbdferry/core/wire/unreadable-chain.js';
import type { Access } from '../access.js';
import type { HoldChange, PushIntent, Removed } from '../store/port.js';
import type { LiveTransfers } from '../transfer/live-transfers.js';
import type { OpenTransfers } from '../transfer/open-transfers.js';
import { sendPull } from '../transfer/pull.js';
import { receivePush } from '../transfer/push.js';

export interface TransferServiceOptions {
  readonly access: Access;
  readonly open: OpenTransfers;
  readonly live: LiveTransfers;
  readonly stallMs: number;
  /** What the configuration of a store says of retention; null when it says nothing. */
  readonly rulesOf: (store: string) => StoreRules | null;
  /** Null when this receiver can neither make nor read compressed parts. */
  readonly zstd: Zstd | null;
  /** The clock that backups are committed by, in milliseconds since 1970. */
  readonly now: () => number;
  readonly onFailure: FailureListener;
  /** Told of each committed backup. */
  readonly onCommitted: (backup: Backup) => void;
  /** Told of removed backups. */
  readonly onRemoved: (ids: readonly string[], client: string) => void;
  /** Told of each hold that was put on or taken off. */
  readonly onHold: (change: HoldChange, client: string) => void;
}

export const createTransferService = (options: TransferServiceOptions): TransferServiceServer => {
  const { access } = options;
  const { unary, clientStream, serverStream } = createHandlers(options.onFailure);

  const idFor = (text: string, client: string) => {
    const id = orThrow(parseBackupId(text), 'INVALID_BACKUP_ID');
    return { id, store: access.open(client, id.store) };
  };

  return {
    handshake: unary(async (request, context: CallContext) => {
      const client = access.client(context.peer);
      return {
        protocol: agreeOnProtocol(request),
        software,
        capabilities: options.zstd === null ? [] : [zstdCapability],
        stores: access.storesOf(client),
        client,
        timeMs: BigInt(options.now()),
        policies: policiesOf(access.storesOf(client), options.rulesOf),
      };
    }),

    listChains: serverStream(async function* (request, { peer, signal }) {
      const client = access.client(peer);
      const store = access.open(client, request.store);
      for await (const told of store.chains(orNull(request.image), { signal })) {
        yield told.kind === 'seen'
          ? { chain: chainToWire(told.value), unreadable: undefined }
          : { chain: undefined, unreadable: unreadableToWire(told.chain) };
      }
    }),

    openPush: unary(async (request, { peer, signal }) => {
      const client = access.client(peer);
      const store = access.open(client, request.store);
      const intent = intentOf(request, client);
      const { base } = intent;
      if (base !== null) await options.open.discardOf(client, (other) => other.intent.base?.chain === base.chain);
      const push = await store.open(intent, { signal });
      if (signal.aborted) {
        await push.discard();
        throw new FerryError('CANCELLED', 'the client went away while the push was opened');
      }
      return { transferId: options.open.add({ client, intent, push }), backupId: push.backupId };
    }),

    push: clientStream(async (messages, { peer, signal }) => {
      const client = access.client(peer);
      const iterator = messages[Symbol.asyncIterator]();
      const first = await iterator.next();
      const header = first.done === true ? undefined : first.value.part;
      if (header?.$case !== 'header') throw new FerryError('INVALID_REQUEST', 'a push begins with its header');
      const { transferId: id } = header.value;
      const { push, intent } = options.open.take(id, client);
      const kind = intent.base === null ? 'full' : 'incremental';
      const transfer = { kind, client, id, backupId: push.backupId, lives: newLives(), signal } as const;
      return options.live.receiving(transfer, async (stages) => {
        const backup = await receivePush(rest(iterator), push, { ...options, ...transfer, intent, stages });
        options.onCommitted(backup);
        return { backup: backupToWire(backup), waits: waitsToWire(stages.meter.waits) };
      });
    }),

    pull: serverStream(
      async function* (request, { peer, signal }) {
        const client = access.client(peer);
        const { id, store } = idFor(request.backupId, client);
        const transferId = transferIdOf(request.transferId);
        const lives = newLives();
        const pull = await store.read(id, { signal, onAlive: lives.rbd.sign });
        const transfer = {
          kind: 'restore',
          client,
          id: transferId,
          backupId: request.backupId,
          lives,
          signal,
        } as const;
        const life = lives.rbd;
        yield* options.live.sending(transfer, ({ meter }) =>
          sendPull(pull, request, { ...options, life, signal, meter }),
        );
      },
      {
        onSent: ({ part }) => {
          if (part?.$case === 'data') Lease.releaseSent(part.value);
        },
      },
    ),

    getTransferProgress: unary((request, { peer }) => {
      const live = options.live.find(access.client(peer), request.transferId);
      live?.stages.heard(waitsFromWire(request.waits));
      live?.lives.peer.heard(request.silentMs);
      return Promise.resolve({
        waits: live && waitsToWire(live.stages.meter.waits),
        silentMs: live && silenceToWire(live.lives.rbd),
      });
    }),

    getBackup: unary(async (request, { peer, signal }) => {
      const client = access.client(peer);
      const { id, store } = idFor(request.backupId, client);
      await options.open.discardOf(client, ({ push }) => push.backupId === request.backupId);
      return { backup: backupToWire(await store.backup(id, { signal })) };
    }),

    deleteBackup: unary(async (request, { peer, signal }) => {
      const client = access.client(peer);
      const { id, store } = idFor(request.backupId, client);
      const removed = await store.remove(id, { signal, dryRun: request.dryRun });
      if (!request.dryRun) options.onRemoved(removed.backupIds, client);
      return { chainRemoved: removed.chainRemoved, trashedUntilMs: trashedUntilMs(removed) };
    }),

    deleteChain: unary(async (request, { peer, signal }) => {
      const client = access.client(peer);
      const store = access.open(client, request.store);
      const removed = await store.removeChain(chainNameFromWire(request.chain), { signal, dryRun: request.dryRun });
      if (!request.dryRun) options.onRemoved(removed.backupIds, client);
      const kept = removed.kept.map(keptToWire);
      return { backupIds: [...removed.backupIds], trashedUntilMs: trashedUntilMs(removed), kept };
    }),

    setHold: unary(async (request, { peer, signal }) => {
      const client = access.client(peer);
      const { id, store } = idFor(request.backupId, client);
      const terms = request.hold === undefined ? null : holdTermsFromWire(request.hold);
      const change = await store.setHold(id, terms, { signal });
      options.onHold(change, client);
      const { backup, before } = change;
      return { backup: backupToWire(backup), before: before === null ? undefined : holdToWire(before) };
    }),

    getStoreUsage: serverStream(async function* (request, { peer, signal }) {
      const client = access.client(peer);
      const store = access.open(client, request.store);
      const of = { image: orNull(request.image), chain: orNull(request.chain) };
      for await (const told of store.usage(of, { signal })) {
        yield told.kind === 'seen'
          ? { usage: usageToWire(told.value), unreadable: undefined }
          : { usage: undefined, unreadable: unreadableToWire(told.chain) };
      }
    }),
  };
};

const policiesOf = (stores: readonly string[], rulesOf: TransferServiceOptions['rulesOf']) =>
  Object.fromEntries(
    stores.flatMap((store) => {
      const rules = rulesOf(store);
      return rules === null ? [] : [[store, rulesToWire(rules)]];
    }),
  );

const newLives = (): Lives => ({ rbd: new RbdLife('backup'), peer: new PeerLife('agent') });

const maxTransferIdLength = 100;

const transferIdOf = (id: string): string => {
  if (id.length <= maxTransferIdLength) return id;
  throw new FerryError('INVALID_REQUEST', `the transfer id is longer than ${maxTransferIdLength} characters`);
};

const trashedUntilMs = ({ trashedUntil }: Removed): bigint => BigInt(trashedUntil?.getTime() ?? 0);

const orNull = (text: string): string | null => (text === '' ? null : text);

const intentOf = (request: OpenPushRequest, client: string): PushIntent => {
  const base = request.baseId === '' ? null : orThrow(parseBackupId(request.baseId), 'INVALID_BACKUP_ID');
  if (base !== null && base.store !== request.store) {
    throw new FerryError(
      'INVALID_REQUEST',
      `the base ${request.baseId} is not in store ${JSON.stringify(request.store)}`,
    );
  }
  return {
    source: sourceFromWire(requireField(request.source, 'source facts')),
    snap: snapFromWire(request.snap),
    base,
    client,
  };
};

async function* rest(iterator: AsyncIterator<PushRequest>): AsyncGenerator<PushRequest, void, undefined> {
  for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) yield next.value;
}
