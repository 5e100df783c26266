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
  idFromWire,
  requireField,
  silenceToWire,
  sourceToWire,
  usageFromWire,
  waitsFromWire,
  waitsToWire,
} from '@rbdferry/core/wire/convert.js';
import { keptFromWire, type KeptBackup } from '@rbdferry/core/wire/kept-backup.js';
import { unreadableFromWire, type UnreadableChain } from '@rbdferry/core/wire/unreadable-chain.js';
import type { ReceiverConfig } from '../config.js';
import { pullLimits, windowWithin, type JobLimits } from '../limits.js';
import { clockAheadMs } from './clock-difference.js';
import { agreeOnCompression, compressionToWire, decompressing, type AgreedCompression } from './compression.js';

/**
 * Deadlines in milliseconds. Opening a push may roll a large image back first; listing may read a whole store. What is quick
 * still outlasts the default deadline of an `rbd` command, so that a receiver whose cluster hangs can say so itself.
 */
const deadlines = { connect: 20_000, progress: 5_000, quick: 90_000, open: 30 * 60_000, list: 10 * 60_000 } as const;

const TransferClient = makeClientConstructor(transferDefinition, 'rbdferry.v1.TransferService') as unknown as new (
  ...args: ConstructorParameters<typeof Client>
) => TransferServiceClient;

interface Options {
  readonly signal?: AbortSignal | undefined;
}

/** Backups that went (or would go) together. */
export interface Gone {
  readonly ids: readonly BackupId[];
  /** Those that stay, and why. */
  readonly kept: readonly KeptBackup[];
  /** When the trash lets go of their chain's image; null when they are gone for good. */
  readonly trashedUntil: Date | null;
}

export interface LookOptions extends Options {
  /** Told of each chain that is left out because the receiver cannot read it. Without it such a chain is the call's failure. */
  readonly onUnreadable?: ((chain: UnreadableChain) => void) | undefined;
}

const leaveOut = (chain: UnreadableChain, { onUnreadable }: LookOptions): void => {
  if (onUnreadable === undefined) throw chain.error;
  onUnreadable(chain);
};

const dateOf = (ms: bigint): Date | null => (ms === 0n ? null : new Date(Number(ms)));

export interface ConnectOptions extends Options {
  /** Left out when nothing much is read. */
  readonly readsWithin?: JobLimits;
  /** Told of the way to the receiver; left out, it is measured only when a window depends on it. */
  readonly onFacts?: (facts: ConnectionFacts) => void;
}

interface Clock {
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/** What a transfer is told by, and told of: its stages as both ends see them. */
interface TransferOptions extends Options {
  readonly stages: TransferStages;
}

interface PullOptions extends TransferOptions {
  /** The name that {@link ReceiverClient.compareWaits} knows the transfer by. */
  readonly transferId: string;
  readonly limits: JobLimits;
}

/** A push under way. */
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

/** What all restores of this process may have on the way beyond the default window. */
const restoreWindows = new WindowBudget();

const closingOnFailure = async <T>(receiver: ReceiverClient, step: Promise<T>): Promise<T> => {
  try {
    return await step;
  } catch (thrown) {
    receiver.close();
    throw thrown;
  }
};

/** A receiver as the agent uses it, over one connection. Throws FerryError only. */
export class ReceiverClient {
  readonly name: string;
  /** Names of the stores that this client may use. */
  stores: readonly string[] = [];
  /** How far the receiver's clock was ahead of ours when we shook hands, in milliseconds; null when the receiver is too old to say. */
  aheadMs: number | null = null;
  /** For pushes and pulls over this connection. */
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
   * Connects with the certificate files as they are now, and shakes hands.
   * @throws RECEIVER_UNREACHABLE, TLS_FAILED, ACCESS_DENIED, PROTOCOL_MISMATCH, CONFIG_*
   */
  static async connect(name: string, config: ReceiverConfig, options: ConnectOptions & Clock): Promise<ReceiverClient> {
    const { readsWithin, onFacts } = options;
    const nearBytes = initialWindowBytes(config.window);
    const windowBytes = readsWithin === undefined ? nearBytes : windowWithin(readsWithin, nearBytes);
    const near = await ReceiverClient.#open(name, config, { ...options, windowBytes });
    const mayWiden = readsWithin !== undefined && config.window === 'auto' && windowBytes === nearBytes;
    if (!mayWiden && onFacts === undefined) return near;
    const measuring = near.#roundTripMs(options);
    const facts = measuring.then((ms) => onFacts?.({ windowBytes, roundTripSeconds: ms / 1000 }));
    // Whoever waits for nothing of it need not hear of its failure.
    facts.catch(() => {});
    if (!mayWiden) return near;
    return ReceiverClient.#widened(near, await closingOnFailure(near, measuring), async (windowBytes) => {
      const far = await ReceiverClient.#open(name, config, { ...options, windowBytes });
      onFacts?.({ windowBytes });
      return far;
    });
  }

  /** The same receiver over a connection with as wide a window as the round trip asks for: a window is a connection's from its start. */
  static async #widened(
    near: ReceiverClient,
    roundTripMs: number,
    open: (windowBytes: number) => Promise<ReceiverClient>,
  ): Promise<ReceiverClient> {
    const { windowBytes, giveBack } = restoreWindows.grant(roundTripMs);
    if (windowBytes === defaultWindowBytes) return near;
    near.close();
    try {
      const far = await open(windowBytes);
      far.#onClose = giveBack;
      return far;
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

  /** The receiver's time, which the order and the age of backups go by, in milliseconds since 1970. */
  now(): number {
    return this.#clock() + (this.aheadMs ?? 0);
  }

  close(): void {
    this.#client.close();
    this.#onClose();
  }

  /** Chains of images of this name, from whatever pool or cluster; null for the whole store. */
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

  /** What chains of images of this name take up, or all (null). */
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

  /** The stream of an opened push. */
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

  /** A backup's whole content. Ends normally only after the trailer. */
  async *pull(
    id: BackupId,
    told: {
      readonly onTrailer: (trailer: StreamEnd) => void;
      /** About how many bytes there will be; told at most once, and not by a receiver of an earlier release. */
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

  /** Both ends of a transfer under way tell each other what they waited for, and when their rbd was last at work. @throws PROTOCOL_MISMATCH when the receiver is too old */
  async compareWaits(transferId: string, { stages, lives, signal }: TransferOptions & { lives: Lives }): Promise<void> {
    const { waits, silentMs } = await callUnary(
      this.#client.getTransferProgress.bind(this.#client),
      { transferId, waits: waitsToWire(stages.meter.waits), silentMs: silenceToWire(lives.rbd) },
      this.#settings({ signal }, deadlines.progress),
    );
    stages.heard(waitsFromWire(waits));
    if (waits !== undefined) lives.peer.heard(silentMs);
  }

  /** How long the quickest call there is takes. The connection stands already. */
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
