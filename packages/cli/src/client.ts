import { resolve } from 'node:path';
import { credentials } from '@grpc/grpc-js';
import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import {
  BackupMode as WireMode,
  ControlServiceClient,
  type DeleteBackupsRequest,
  type DeleteBackupsResponse,
  type GetAgentInfoResponse,
  type GetUsageResponse,
  type ListBackupsResponse,
  type ReadBackupResponse,
  type StartBackupsRequest,
  type StartRestoreRequest,
  type StartRestoresRequest,
} from '@rbdferry/core/gen/rbdferry/v1/control.js';
import { parseBackupId } from '@rbdferry/core/model/backup-id.js';
import type { BackupMode } from '@rbdferry/core/model/planner.js';
import { callServerStream, callUnary, type CallSettings } from '@rbdferry/core/rpc/calls.js';
import { clientOptions } from '@rbdferry/core/rpc/options.js';
import { describeFailure } from './agent-failure.js';
import type { ChainView } from './view/chain.js';
import type { DeletionEvent } from './view/deletion.js';
import type { HoldView } from './view/hold.js';
import { jobView, type JobView } from './view/job.js';
import type { ChainUsageView, UnreadableView } from './view/usage.js';

/** An agent that answers at all answers a question about itself in no time. */
const unaryTimeoutMs = 30_000;
/** A job that is cancelled closes two `rbd` processes and cleans up on both clusters first. */
const cancelTimeoutMs = 120_000;
/** Each snapshot costs an `rbd` process on the source cluster, which has a deadline of its own. */
const sourceSnapshotsTimeoutMs = 300_000;
/** The receiver waits for a minute until nobody changes the chain, and may have to put the chain right first. */
const holdTimeoutMs = 300_000;
/** What is no whole id is looked up in a store, which may be large. */
const lookUpTimeoutMs = 300_000;

export interface BackupRequest {
  readonly image: string;
  readonly mode: BackupMode;
  /** Undefined for the agent's default. */
  readonly receiver?: string | undefined;
  readonly store?: string | undefined;
  /** The same key again is the same job. */
  readonly idempotencyKey?: string | undefined;
  /** Bytes per second. Undefined for no limit of its own. */
  readonly limit?: number | undefined;
  /** Undefined for one. */
  readonly attempts?: number | undefined;
}

/** Which images are meant, see the control API. */
export interface ImageSelection {
  readonly images: readonly string[];
  readonly pools?: readonly string[] | undefined;
  /** The pools of the agent's configuration. */
  readonly all?: boolean | undefined;
  readonly match?: readonly string[] | undefined;
  readonly exclude?: readonly string[] | undefined;
}

export interface BackupsRequest extends Omit<BackupRequest, 'image'> {
  readonly selection: ImageSelection;
}

/** A backup by its id, whole or short, or the newest one of an image (not after a moment, in milliseconds since 1970). */
export type WantedBackup =
  { readonly backupId: string } | { readonly image: string; readonly atMs?: number | undefined };

export type RestoreRequest = WantedBackup & RestoreOptions;

export type ReadRequest = WantedBackup & Pick<RestoreOptions, 'receiver' | 'store' | 'limit'>;

/** The images that a pool had, from the newest backup of each, or as they were at a moment (milliseconds since 1970). */
export interface RestoresRequest extends RestoreOptions {
  /** POOL or POOL/NAMESPACE, as is `to`. */
  readonly pool: string;
  readonly atMs?: number | undefined;
  readonly match?: readonly string[] | undefined;
  readonly exclude?: readonly string[] | undefined;
}

interface RestoreOptions {
  readonly to?: string | undefined;
  readonly replace: boolean;
  readonly receiver?: string | undefined;
  /** Where it is looked up; of a whole id nothing is. */
  readonly store?: string | undefined;
  /** The same key again is the same job. */
  readonly idempotencyKey?: string | undefined;
  /** Bytes per second. Undefined for no limit of its own. */
  readonly limit?: number | undefined;
  /** Undefined for one. */
  readonly attempts?: number | undefined;
}

/** A store, or the agent's default one. */
export interface Place {
  readonly receiver?: string | undefined;
  readonly store?: string | undefined;
}

export interface DeleteRequest extends Place {
  /** What to delete, in the words of the control API. */
  readonly selection: NonNullable<DeleteBackupsRequest['selection']>;
  readonly dryRun: boolean;
}

export interface HoldRequest extends Place {
  /** Whole or short. */
  readonly backupId: string;
  /** Null for until it is released. */
  readonly until: Date | null;
  readonly reason: string;
}

export interface UsageRequest extends Place {
  readonly allStores?: boolean;
  readonly image?: string | undefined;
  /** [STORE/]IMAGE.TIMESTAMP.bkp.image */
  readonly chain?: string | undefined;
  readonly backupId?: string | undefined;
  /** Told of each chain that is there and cannot be read or measured. */
  readonly onUnreadable: (chain: UnreadableView) => void;
}

const wireModes: Record<BackupMode, WireMode> = {
  auto: WireMode.AUTO,
  full: WireMode.FULL,
  incr: WireMode.INCREMENTAL,
};

const wantedToWire = (wanted: WantedBackup): Pick<StartRestoreRequest, 'backupId' | 'image' | 'atMs'> => {
  if ('backupId' in wanted) return { backupId: wanted.backupId, image: '', atMs: undefined };
  return { backupId: '', image: wanted.image, atMs: wanted.atMs === undefined ? undefined : BigInt(wanted.atMs) };
};

/**
 * The agent's control API as the CLI needs it: plain values in and out, and a {@link FerryError} for whatever goes wrong.
 * Nothing here hangs on an agent that does not answer. Views are loaded by the calls that need them: most commands need the job's alone.
 */
export class AgentClient {
  readonly #client: ControlServiceClient;
  readonly #socket: string;

  /** @param socket path of the agent's unix socket. Connects at the first call. */
  constructor(socket: string) {
    this.#socket = resolve(socket);
    this.#client = new ControlServiceClient(`unix:${this.#socket}`, credentials.createInsecure(), clientOptions());
  }

  close(): void {
    this.#client.close();
  }

  async startBackup(request: BackupRequest): Promise<JobView> {
    const { image, mode, receiver = '', store = '', idempotencyKey = '', limit = 0, attempts = 1 } = request;
    const limitBytesPerSecond = BigInt(limit);
    const message = { image, mode: wireModes[mode], receiver, store, idempotencyKey, limitBytesPerSecond, attempts };
    const { job } = await this.#unary('startBackup', (settings) =>
      callUnary(this.#client.startBackup.bind(this.#client), message, settings),
    );
    return jobView(job);
  }

  /** Backups of many images: a batch, and a job for each of them. */
  async startBackups(request: BackupsRequest): Promise<JobView> {
    const { selection, mode, receiver = '', store = '', idempotencyKey = '', limit = 0, attempts = 1 } = request;
    const limitBytesPerSecond = BigInt(limit);
    const { images, pools = [], all: allPools = false, match = [], exclude = [] } = selection;
    const message: StartBackupsRequest = {
      selection: { images: [...images], pools: [...pools], allPools, match: [...match], exclude: [...exclude] },
      mode: wireModes[mode],
      receiver,
      store,
      idempotencyKey,
      limitBytesPerSecond,
      attempts,
    };
    const { job } = await this.#unary('startBackups', (settings) =>
      callUnary(this.#client.startBackups.bind(this.#client), message, settings),
    );
    return jobView(job);
  }

  async startRestore(request: RestoreRequest): Promise<JobView> {
    const { to = '', replace, receiver = '', store = '', idempotencyKey = '', limit = 0, attempts = 1 } = request;
    const limitBytesPerSecond = BigInt(limit);
    const message: StartRestoreRequest = {
      ...wantedToWire(request),
      store,
      to,
      replace,
      receiver,
      idempotencyKey,
      limitBytesPerSecond,
      attempts,
    };
    const isLookedUp = !('backupId' in request) || !parseBackupId(request.backupId).ok;
    // That answer may take long: so first make sure that somebody answers at all.
    if (isLookedUp) await this.agentInfo();
    const { job } = await this.#unary(
      'startRestore',
      (settings) => callUnary(this.#client.startRestore.bind(this.#client), message, settings),
      isLookedUp ? { timeoutMs: lookUpTimeoutMs } : {},
    );
    return jobView(job);
  }

  /** A backup's content, as the control API tells it. Data lies in leases, for the caller to claim. */
  async *readBackup(request: ReadRequest, signal: AbortSignal): AsyncGenerator<ReadBackupResponse, void, undefined> {
    const { startReading } = await import('./to-file/start-reading.js');
    const { receiver = '', store = '', limit = 0 } = request;
    const message = { ...wantedToWire(request), receiver, store, limitBytesPerSecond: BigInt(limit) };
    yield* this.#stream<ReadBackupResponse>('readBackup', signal, (metadata, options) =>
      startReading(this.#client, message, metadata, options),
    );
  }

  /** Restores of the images that a pool had: a batch, and a job for each of them. */
  async startRestores(request: RestoresRequest): Promise<JobView> {
    const { pool, to: toPool = '', atMs, replace, match = [], exclude = [] } = request;
    const { receiver = '', store = '', idempotencyKey = '', limit = 0, attempts = 1 } = request;
    const message: StartRestoresRequest = {
      pool,
      toPool,
      atMs: atMs === undefined ? undefined : BigInt(atMs),
      replace,
      match: [...match],
      exclude: [...exclude],
      receiver,
      store,
      idempotencyKey,
      limitBytesPerSecond: BigInt(limit),
      attempts,
    };
    const { job } = await this.#unary('startRestores', (settings) =>
      callUnary(this.#client.startRestores.bind(this.#client), message, settings),
    );
    return jobView(job);
  }

  async getJob(jobId: string): Promise<JobView> {
    const { job } = await this.#unary('getJob', (settings) =>
      callUnary(this.#client.getJob.bind(this.#client), { jobId }, settings),
    );
    return jobView(job);
  }

  /** Newest first. @param limit 0 for the agent's own */
  async listJobs(request: {
    image?: string | undefined;
    /** Only the jobs of this batch. */
    parent?: string | undefined;
    activeOnly: boolean;
    limit: number;
  }): Promise<JobView[]> {
    const { image = '', parent: parentId = '', activeOnly, limit } = request;
    const message = { image, parentId, activeOnly, limit };
    const { jobs } = await this.#unary('listJobs', (settings) =>
      callUnary(this.#client.listJobs.bind(this.#client), message, settings),
    );
    return jobs.map(jobView);
  }

  /** Asks the job to stop and waits until it has ended; the answer says how. */
  async cancelJob(jobId: string): Promise<JobView> {
    const { job } = await this.#unary(
      'cancelJob',
      (settings) => callUnary(this.#client.cancelJob.bind(this.#client), { jobId }, settings),
      { timeoutMs: cancelTimeoutMs, jobId },
    );
    return jobView(job);
  }

  /**
   * A job that is known to exist: now, and at each change until it has ended.
   *
   * @throws CONNECTION_LOST when the agent goes away; the signal's reason
   */
  async *watchJob(jobId: string, signal?: AbortSignal): AsyncGenerator<JobView, void, undefined> {
    try {
      const start = this.#client.watchJob.bind(this.#client);
      const settings = { peer: this.#peer, signal };
      for await (const { job } of callServerStream(
        (metadata, options) => start({ jobId }, metadata, options),
        settings,
      )) {
        yield jobView(job);
      }
    } catch (thrown) {
      throw signal?.aborted === true
        ? thrown
        : describeFailure(thrown, { socket: this.#socket, method: 'watchJob', jobId });
    }
  }

  /** Chains of an image, or of the whole store, as they arrive; at the end those that are there and cannot be read. */
  async *listBackups(
    request: Place & { image?: string | undefined },
    signal?: AbortSignal,
  ): AsyncGenerator<ChainView, void, undefined> {
    const { chainView } = await import('./view/chain.js');
    const { image = '', receiver = '', store = '' } = request;
    const start = this.#client.listBackups.bind(this.#client);
    const chains = this.#stream<ListBackupsResponse>('listBackups', signal, (metadata, options) =>
      start({ image, receiver, store }, metadata, options),
    );
    for await (const message of chains) yield chainView(message);
  }

  /** Removes backups, and tells of each as it goes. */
  async *deleteBackups(request: DeleteRequest, signal?: AbortSignal): AsyncGenerator<DeletionEvent, void, undefined> {
    const { deletionView } = await import('./view/deletion.js');
    const { selection, dryRun, receiver = '', store = '' } = request;
    const start = this.#client.deleteBackups.bind(this.#client);
    const events = this.#stream<DeleteBackupsResponse>('deleteBackups', signal, (metadata, options) =>
      start({ selection, dryRun, receiver, store }, metadata, options),
    );
    for await (const message of events) yield deletionView(message);
  }

  /** Keeps a backup from being deleted; answers the hold, and the one that was in force before. */
  async hold(request: HoldRequest): Promise<{ id: string; hold: HoldView; before: HoldView | null }> {
    const { backupId, until, reason, receiver = '', store = '' } = request;
    const message = { backupId, receiver, store, hold: { untilMs: BigInt(until?.getTime() ?? 0), reason } };
    const {
      backupId: id,
      hold,
      before,
    } = await this.#unary(
      'holdBackup',
      (settings) => callUnary(this.#client.holdBackup.bind(this.#client), message, settings),
      { timeoutMs: holdTimeoutMs },
    );
    const { holdView } = await import('./view/hold.js');
    const made = holdView(hold);
    if (made === null) throw new FerryError('PROTOCOL_MISMATCH', 'the agent answered without a hold');
    return { id, hold: made, before: holdView(before) };
  }

  /** Takes a hold off; answers it, or null when there was none. */
  async release(request: Place & { backupId: string }): Promise<{ id: string; before: HoldView | null }> {
    const { backupId, receiver = '', store = '' } = request;
    const { backupId: id, before } = await this.#unary(
      'releaseBackup',
      (settings) => callUnary(this.#client.releaseBackup.bind(this.#client), { backupId, receiver, store }, settings),
      { timeoutMs: holdTimeoutMs },
    );
    return { id, before: (await import('./view/hold.js')).holdView(before) };
  }

  /** Removes our snapshots on a source image. Answers their names. */
  async deleteSourceSnapshots(request: Place & { image: string; dryRun: boolean }): Promise<string[]> {
    const { image, dryRun, receiver = '', store = '' } = request;
    const { snapshots } = await this.#unary(
      'deleteSourceSnapshots',
      (settings) =>
        callUnary(this.#client.deleteSourceSnapshots.bind(this.#client), { image, dryRun, receiver, store }, settings),
      { timeoutMs: sourceSnapshotsTimeoutMs },
    );
    return snapshots;
  }

  /** What chains take up, as they arrive. */
  async *usage(request: UsageRequest, signal?: AbortSignal): AsyncGenerator<ChainUsageView, void, undefined> {
    const { unreadableUsage, usageView } = await import('./view/usage.js');
    const { image = '', chain = '', backupId = '', allStores = false, receiver = '', store = '' } = request;
    const start = this.#client.getUsage.bind(this.#client);
    const chains = this.#stream<GetUsageResponse>('getUsage', signal, (metadata, options) =>
      start({ image, chain, backupId, allStores, receiver, store }, metadata, options),
    );
    for await (const message of chains) {
      if (message.unreadable === undefined) yield usageView(message);
      else request.onUnreadable(unreadableUsage(message.unreadable));
    }
  }

  agentInfo(options: { timeoutMs?: number } = {}): Promise<GetAgentInfoResponse> {
    return this.#unary(
      'getAgentInfo',
      (settings) => callUnary(this.#client.getAgentInfo.bind(this.#client), {}, settings),
      options,
    );
  }

  get #peer() {
    return { unreachable: 'AGENT_UNREACHABLE', peer: `agent at ${JSON.stringify(this.#socket)}` } as const;
  }

  /** A stream has no deadline, so this first makes sure that somebody answers. */
  async *#stream<Res>(
    method: string,
    signal: AbortSignal | undefined,
    start: Parameters<typeof callServerStream<Res>>[0],
  ): AsyncGenerator<Res, void, undefined> {
    await this.agentInfo();
    try {
      yield* callServerStream(start, { peer: this.#peer, signal });
    } catch (thrown) {
      throw signal?.aborted === true ? thrown : describeFailure(thrown, { socket: this.#socket, method });
    }
  }

  async #unary<Res>(
    method: string,
    call: (settings: CallSettings) => Promise<Res>,
    options: { timeoutMs?: number; jobId?: string } = {},
  ): Promise<Res> {
    const { timeoutMs = unaryTimeoutMs, jobId } = options;
    try {
      return await call({ peer: this.#peer, timeoutMs });
    } catch (thrown) {
      throw describeFailure(thrown, { socket: this.#socket, method, timeoutMs, jobId });
    }
  }
}
