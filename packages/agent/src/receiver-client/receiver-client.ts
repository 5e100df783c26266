import { makeClientConstructor, type Client } from '@grpc/grpc-js';
import { findZstd } from '@rbdferry/core/compress/zstd.js';
import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import type {
  HandshakeResponse,
  OpenPushResponse,
  PullResponse,
  PushRequest,
  PushResponse,
  TransferServiceClient,
} from '@rbdferry/core/gen/rbdferry/v1/transfer.js';
import type { BackupId, ChainName, SnapName } from '@rbdferry/core/model/backup-id.js';
import type { Backup, Chain, ChainUsage, SourceFacts, StreamEnd } from '@rbdferry/core/model/chain.js';
import type { Hold, HoldTerms } from '@rbdferry/core/model/hold.js';
import type { StoreRules } from '@rbdferry/core/model/retention/policy.js';
import type { ConnectionFacts } from '@rbdferry/core/metrics/connection-metrics.js';
import { callClientStream, callServerStream, callUnary, type CallSettings } from '@rbdferry/core/rpc/calls.js';
import { transferDefinition } from '@rbdferry/core/rpc/hot-data.js';
import { clientOptions } from '@rbdferry/core/rpc/options.js';
import { agreeOnProtocol, protocolVersions, software, zstdCapability } from '@rbdferry/core/rpc/protocol.js';
import { clientCredentials } from '@rbdferry/core/rpc/tls.js';
import { defaultWindowBytes, initialWindowBytes, WindowBudget } from '@rbdferry/core/rpc/window.js';
import type { Piece } from '@rbdferry/core/transfer/piece.js';
import { Lease } from '@rbdferry/core/transfer/lease.js';
import type { Lives } from '@rbdferry/core/transfer/life.js';
import type { TransferStages } from '@rbdferry/core/transfer/transfer-stages.js';
import {
  backupFromWire,
  chainFromWire,
  holdFromWire,
  holdTermsToWire,
  idFromWire,
  requireField,
  silenceToWire,
  sourceToWire,
  usageFromWire,
  waitsFromWire,
  waitsToWire,
} from '@rbdferry/core/wire/convert.js';
import { keptFromWire, type KeptBackup } from '@rbdferry/core/wire/kept-backup.js';
import { rulesFromWire } from '@rbdferry/core/wire/retention.js';
import { unreadableFromWire, type UnreadableChain } from '@rbdferry/core/wire/unreadable-chain.js';
import type { ReceiverConfig } from '../config.js';
import { pullLimits, windowWithin, type JobLimits } from '../limits.js';
import { clockAheadMs } from './clock-difference.js';
import { agreeOnCompression, compressionToWire, decompressing, type AgreedCompression } from './compression.js';

/**
 * Deadlines of calls, in milliseconds. `open`: before a push the receiver may have to roll a large image back. `list`: it may read
 * a whole store. `quick` is longer than the receiver's own default deadline for an `rbd` command: when its cluster hangs, the receiver's
 * error, which says so, arrives before we give up with "receiver not reachable".
 */
const deadlines = { connect: 20_000, progress: 5_000, quick: 90_000, open: 30 * 60_000, list: 10 * 60_000 } as const;

const TransferClient = makeClientConstructor(transferDefinition, 'rbdferry.v1.TransferService') as unknown as new (
  ...args: ConstructorParameters<typeof Client>
) => TransferServiceClient;

interface Options {
  readonly signal?: AbortSignal | undefined;
}

/** What one deletion removed, or with a dry run would remove. */
export interface Gone {
  /** The backups that were removed. */
  readonly ids: readonly BackupId[];
  /** Backups that were to be removed as well and stay, each with the reason. */
  readonly kept: readonly KeptBackup[];
  /** Until when their image lies in the trash of the receiver's pool; null when it does not, and they are gone for good. */
  readonly trashedUntil: Date | null;
}

export interface LookOptions extends Options {
  /**
   * Called for each chain that the receiver cannot read, which is then left out of the answer. Without this function the first such chain
   * makes the whole call fail.
   */
  readonly onUnreadable?: ((chain: UnreadableChain) => void) | undefined;
}

/** @throws the chain's error when the caller does not want to go on without it */
const leaveOut = (chain: UnreadableChain, { onUnreadable }: LookOptions): void => {
  if (onUnreadable === undefined) throw chain.error;
  onUnreadable(chain);
};

const dateOf = (ms: bigint): Date | null => (ms === 0n ? null : new Date(Number(ms)));

export interface ConnectOptions extends Options {
  /**
   * Given for a restore: much data will come over this connection, no faster than these limits. The connection's flow-control window is
   * then made to fit, smaller under a low limit and larger when the receiver is far away. Left out when only answers come.
   */
  readonly readsWithin?: JobLimits;
  /** Called with the window and the measured round trip, for the metrics. Without it nothing is measured unless the window depends on it. */
  readonly onFacts?: (facts: ConnectionFacts) => void;
}

interface Clock {
  /** This machine's time, in milliseconds since 1970. */
  readonly now: () => number;
}

interface TransferOptions extends Options {
  /** Counts what this end waits for. What the receiver's end waited for comes back over the wire, and is put in here as well. */
  readonly stages: TransferStages;
}

interface PullOptions extends TransferOptions {
  /** A new name for this transfer, to ask the receiver about it while it runs ({@link ReceiverClient.compareWaits}). */
  readonly transferId: string;
  readonly limits: JobLimits;
}

/** The stream of one backup to the receiver, which has been begun. */
export interface Push {
  /**
   * Sends a part of the diff stream; resolves when there is room for more. The piece becomes the push's, which gives its content back
   * when it has been sent.
   */
  send(piece: Piece): Promise<void>;
  /** Ends the stream; answers the backup that the receiver made of it. */
  commit(end: StreamEnd): Promise<Backup>;
  /** Gives up; the receiver is told. */
  cancel(): void;
}

/**
 * Memory that all restores of this process together may spend on windows larger than the default: bytes within a window may arrive
 * before anybody takes them.
 */
const restoreWindows = new WindowBudget();

const closingOnFailure = async <T>(receiver: ReceiverClient, step: Promise<T>): Promise<T> => {
  try {
    return await step;
  } catch (thrown) {
    receiver.close();
    throw thrown;
  }
};

/** One connection to a receiver, with a method for each thing that the agent asks of it. Throws FerryError only. */
export class ReceiverClient {
  readonly name: string;
  /** Names of the stores that this client may use. */
  stores: readonly string[] = [];
  /** What the configuration of those stores says of retention, by their names; a store that says nothing is not in it. */
  policies: ReadonlyMap<string, StoreRules> = new Map();
  /** How far the receiver's clock was ahead of ours when we shook hands, in milliseconds; null when the receiver is too old to say. */
  aheadMs: number | null = null;
  /** Whether pushes and pulls are compressed, as was agreed in the handshake. */
  compression: AgreedCompression = { kind: 'none' };
  readonly #client: TransferServiceClient;
  readonly #peer: CallSettings['peer'];
  readonly #clock: () => number;
  #onClose: () => void = () => {};

  private constructor(name: string, client: TransferServiceClient, address: string, clock: () => number) {
    this.name = name;
    this.#clock = clock;
    this.#client = client;
    this.#peer = { unreachable: 'RECEIVER_UNREACHABLE', peer: `receiver ${JSON.stringify(name)} at ${address}` };
  }

  /**
   * Connects with the certificate files as they are now, and shakes hands. HTTP/2 fixes a client's window when it connects, and how large
   * it should be shows only in the round trip. So a restore connects once with the usual window, measures, and connects once
   * more when the receiver turns out to be far away.
   * @throws RECEIVER_UNREACHABLE, TLS_FAILED, ACCESS_DENIED, PROTOCOL_MISMATCH, CONFIG_*
   */
  static async connect(name: string, config: ReceiverConfig, options: ConnectOptions & Clock): Promise<ReceiverClient> {
    const { readsWithin, onFacts } = options;
    const usualBytes = initialWindowBytes(config.window);
    const windowBytes = readsWithin === undefined ? usualBytes : windowWithin(readsWithin, usualBytes);
    const first = await ReceiverClient.#open(name, config, { ...options, windowBytes });
    const mayWiden = readsWithin !== undefined && config.window === 'auto' && windowBytes === usualBytes;
    if (!mayWiden && onFacts === undefined) return first;
    const measuring = first.#roundTripMs(options);
    const facts = measuring.then((ms) => onFacts?.({ windowBytes, roundTripSeconds: ms / 1000 }));
    // For the metrics alone a failed measurement is no failure; a connection that is broken shows with the next call.
    facts.catch(() => {});
    if (!mayWiden) return first;
    return ReceiverClient.#widened(first, await closingOnFailure(first, measuring), async (widerBytes) => {
      const second = await ReceiverClient.#open(name, config, { ...options, windowBytes: widerBytes });
      onFacts?.({ windowBytes: widerBytes });
      return second;
    });
  }

  /**
   * Closes the first connection and opens another one with a window that fits the round trip, unless the first one's fits already. The
   * window's share of {@link restoreWindows} is given back when that connection is closed.
   */
  static async #widened(
    first: ReceiverClient,
    roundTripMs: number,
    open: (windowBytes: number) => Promise<ReceiverClient>,
  ): Promise<ReceiverClient> {
    const { windowBytes, giveBack } = restoreWindows.grant(roundTripMs);
    if (windowBytes === defaultWindowBytes) return first;
    first.close();
    try {
      const second = await open(windowBytes);
      second.#onClose = giveBack;
      return second;
    } catch (thrown) {
      giveBack();
      throw thrown;
    }
  }

  static async #open(
    name: string,
    config: ReceiverConfig,
    options: Options & Clock & { readonly windowBytes: number },
  ): Promise<ReceiverClient> {
    const credentials = await clientCredentials(config.tls);
    const client = new TransferClient(config.address, credentials, clientOptions(options.windowBytes));
    const receiver = new ReceiverClient(name, client, config.address, options.now);
    await closingOnFailure(receiver, receiver.#handshake(config.compression, options));
    return receiver;
  }

  /**
   * The receiver's time, in milliseconds since 1970. Backups bear the time at which the receiver committed them, so their order and age
   * are reckoned by its clock and not by ours.
   */
  now(): number {
    return this.#clock() + (this.aheadMs ?? 0);
  }

  close(): void {
    this.#client.close();
    this.#onClose();
  }

  /** Chains of all images of this name, whatever pool or cluster they come from; null for all chains of the store. */
  async *chains(store: string, image: string | null, options: LookOptions): AsyncGenerator<Chain, void, undefined> {
    const request = { store, image: image ?? '' };
    const stream = callServerStream(
      (metadata, callOptions) => this.#client.listChains(request, metadata, callOptions),
      this.#settings(options, deadlines.list),
    );
    for await (const { chain, unreadable } of stream) {
      if (unreadable === undefined) yield chainFromWire(requireField(chain, 'chain'));
      else leaveOut(unreadableFromWire(unreadable), options);
    }
  }

  /** @throws BACKUP_NOT_FOUND, STORE_NOT_FOUND, ACCESS_DENIED */
  async backup(id: BackupId, options: Options & { readonly timeoutMs?: number }): Promise<Backup> {
    const { backup } = await callUnary(
      this.#client.getBackup.bind(this.#client),
      { backupId: id },
      this.#settings(options, options.timeoutMs ?? deadlines.quick),
    );
    return backupFromWire(requireField(backup, 'backup'));
  }

  /** @throws BACKUP_NOT_FOUND, BACKUP_IN_USE, IMAGE_BUSY, STORE_NOT_FOUND, ACCESS_DENIED */
  async deleteBackup(id: BackupId, dryRun: boolean, options: Options): Promise<Gone> {
    const { trashedUntilMs } = await callUnary(
      this.#client.deleteBackup.bind(this.#client),
      { backupId: id, dryRun },
      this.#settings(options, deadlines.open),
    );
    return { ids: [id], kept: [], trashedUntil: dateOf(trashedUntilMs) };
  }

  /** @throws BACKUP_NOT_FOUND, IMAGE_BUSY, STORE_NOT_FOUND, ACCESS_DENIED */
  async deleteChain(store: string, chain: ChainName, dryRun: boolean, options: Options): Promise<Gone> {
    const { backupIds, trashedUntilMs, kept } = await callUnary(
      this.#client.deleteChain.bind(this.#client),
      { store, chain, dryRun },
      this.#settings(options, deadlines.open),
    );
    const idOf = (id: string) => requireField(idFromWire(id) ?? undefined, 'backup id');
    return {
      ids: backupIds.map(idOf),
      kept: kept.map(keptFromWire),
      trashedUntil: dateOf(trashedUntilMs),
    };
  }

  /**
   * Puts a hold on a backup, or takes it off (null); answers the one that it has now and the one that it had.
   *
   * @throws BACKUP_NOT_FOUND, IMAGE_BUSY, INVALID_REQUEST; PROTOCOL_MISMATCH when the receiver knows no holds
   */
  async setHold(
    id: BackupId,
    terms: HoldTerms | null,
    options: Options,
  ): Promise<{ readonly hold: Hold | null; readonly before: Hold | null }> {
    const { backup, before } = await callUnary(
      this.#client.setHold.bind(this.#client),
      { backupId: id, hold: terms === null ? undefined : holdTermsToWire(terms) },
      this.#settings(options, deadlines.open),
    );
    const { hold } = backupFromWire(requireField(backup, 'backup'));
    return { hold, before: before === undefined ? null : holdFromWire(before) };
  }

  /** What chains take up: those of all images of a name, one chain, or (both null) all of the store. */
  async *usage(
    store: string,
    of: { readonly image: string | null; readonly chain: ChainName | null },
    options: LookOptions,
  ): AsyncGenerator<ChainUsage, void, undefined> {
    const request = { store, image: of.image ?? '', chain: of.chain ?? '' };
    const stream = callServerStream(
      (metadata, callOptions) => this.#client.getStoreUsage(request, metadata, callOptions),
      this.#settings(options, deadlines.list),
    );
    for await (const { usage, unreadable } of stream) {
      if (unreadable === undefined) yield usageFromWire(requireField(usage, 'usage'));
      else leaveOut(unreadableFromWire(unreadable), options);
    }
  }

  openPush(
    push: { store: string; source: SourceFacts; snap: SnapName; baseId: BackupId | null },
    options: Options,
  ): Promise<OpenPushResponse> {
    return callUnary(
      this.#client.openPush.bind(this.#client),
      { store: push.store, source: sourceToWire(push.source), snap: push.snap, baseId: push.baseId ?? '' },
      this.#settings(options, deadlines.open),
    );
  }

  /** Begins the stream of a push that was opened. */
  async push(transferId: string, options: TransferOptions): Promise<Push> {
    const { stages } = options;
    const call = callClientStream<PushRequest, PushResponse>(
      (metadata, callOptions, callback) => this.#client.push(metadata, callOptions, callback),
      this.#settings(options),
    );
    await call.write({ part: { $case: 'header', value: { transferId } } });
    return {
      send: ({ content, frame }) => {
        if (frame !== null) {
          const contentBytes = content.bytes.length;
          content.release();
          return call.write({ part: { $case: 'zstd', value: { frame, contentBytes } } });
        }
        return call.write({ part: { $case: 'data', value: content.bytesForMessage } }, () => {
          content.release();
        });
      },
      async commit({ streamBytes, streamGmac }) {
        const waits = waitsToWire(stages.meter.waits);
        const commit = { streamBytes, streamGmac: Buffer.from(streamGmac), waits };
        await call.write({ part: { $case: 'commit', value: commit } });
        const { backup, waits: receiverWaits } = await call.finish();
        stages.heard(waitsFromWire(receiverWaits));
        return backupFromWire(requireField(backup, 'backup'));
      },
      cancel: () => {
        call.cancel();
      },
    };
  }

  /** A backup's whole content. Ends normally only after the trailer, the receiver's word that this was all of it. */
  async *pull(
    id: BackupId,
    told: {
      readonly onTrailer: (trailer: StreamEnd) => void;
      /** About how many bytes there will be. Called at most once; receivers of earlier releases do not say it. */
      readonly onEstimate: (bytes: bigint) => void;
    },
    options: PullOptions,
  ): AsyncGenerator<Piece, void, undefined> {
    const { transferId, limits } = options;
    const { limitBytesPerSecond, maxDataBytes } = pullLimits(limits);
    const compression = compressionToWire(this.compression);
    const limit = { limitBytesPerSecond: BigInt(limitBytesPerSecond), maxDataBytes };
    const request = { backupId: id, transferId, ...limit, compression };
    const stream = callServerStream<PullResponse>(
      (metadata, callOptions) => this.#client.pull(request, metadata, callOptions),
      this.#settings(options),
    );
    let whole = false;
    for await (const { part } of decompressing(this.compression, stream)) {
      if (part?.$case === 'data') yield { content: Lease.claim(part.value), frame: null };
      if (part?.$case === 'piece') yield part.value;
      if (part?.$case === 'trailer') {
        whole = true;
        options.stages.heard(waitsFromWire(part.value.waits));
        told.onTrailer(part.value);
      }
      if (part?.$case === 'estimatedBytes') told.onEstimate(part.value);
    }
    if (!whole)
      throw new FerryError('STREAM_TRUNCATED', `${this.#peer.peer} ended the stream of ${id} without its trailer`);
  }

  /**
   * Tells the receiver, about a transfer that runs, what this end has waited for so far and how long its rbd has been silent; takes in the
   * receiver's answer, which is the same of its end.
   *
   * @throws PROTOCOL_MISMATCH when the receiver is too old
   */
  async compareWaits(transferId: string, { stages, lives, signal }: TransferOptions & { lives: Lives }): Promise<void> {
    const { waits, silentMs } = await callUnary(
      this.#client.getTransferProgress.bind(this.#client),
      { transferId, waits: waitsToWire(stages.meter.waits), silentMs: silenceToWire(lives.rbd) },
      this.#settings({ signal }, deadlines.progress),
    );
    stages.heard(waitsFromWire(waits));
    if (waits !== undefined) lives.peer.heard(silentMs);
  }

  /** The round trip, as the time that another handshake takes: nothing is quicker, and the connection is there already. */
  async #roundTripMs(options: Options): Promise<number> {
    const started = performance.now();
    await this.#shakeHands([], options);
    return performance.now() - started;
  }

  async #handshake(compression: ReceiverConfig['compression'], options: Options): Promise<void> {
    const zstd = await findZstd();
    const capabilities = zstd === null ? [] : [zstdCapability];
    const askedMs = this.#clock();
    const answer = await this.#shakeHands(capabilities, options);
    this.aheadMs = clockAheadMs(answer.timeMs, { askedMs, answeredMs: this.#clock() });
    this.stores = answer.stores;
    this.policies = new Map(Object.entries(answer.policies).map(([store, rules]) => [store, rulesFromWire(rules)]));
    agreeOnProtocol({ protocolMin: answer.protocol, protocolMax: answer.protocol, software: answer.software });
    this.compression = agreeOnCompression(compression, zstd, { ...answer, who: this.#peer.peer });
  }

  #shakeHands(capabilities: string[], options: Options): Promise<HandshakeResponse> {
    return callUnary(
      this.#client.handshake.bind(this.#client),
      { protocolMin: protocolVersions.min, protocolMax: protocolVersions.max, software, capabilities },
      this.#settings(options, deadlines.connect),
    );
  }

  #settings({ signal }: Options, timeoutMs?: number): CallSettings {
    return { peer: this.#peer, signal, timeoutMs };
  }
}
