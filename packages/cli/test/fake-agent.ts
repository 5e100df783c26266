import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import {
  ControlServiceService,
  JobKind,
  TransferStage,
  type ControlServiceServer,
  type Job,
  type TransferStages,
  type GetUsageResponse,
  type ListBackupsResponse,
} from '@rbdferry/core/gen/rbdferry/v1/control.js';
import {
  BackupKind,
  type Backup,
  type BackupUsage,
  type ChainUsage,
  type UnreadableChain,
} from '@rbdferry/core/gen/rbdferry/v1/model.js';
import { createHandlers } from '@rbdferry/core/rpc/handlers.js';
import { onTestFinished } from 'vitest';

/** Wraps handlers as the real agent does, so that errors go over the wire in their real form. */
export const { unary, serverStream } = createHandlers(() => {});

export const backupId = 'rbd2/vm1.2026-11-24.10:40:39.458883.bkp.image@2026-11-24.22:40:43.707889.snap';

export const at = Date.UTC(2026, 10, 24, 22, 40, 43);

/** A job of the fake agent. */
export const jobOf = (state: Job['state'], over: Partial<Job> = {}): Job => ({
  id: 'k3v9x2m7qa',
  kind: JobKind.BACKUP,
  image: 'rbd/vm1',
  receiver: 'dr',
  store: 'rbd2',
  backupId: state?.$case === 'queued' ? '' : backupId,
  backupKind: state?.$case === 'queued' ? BackupKind.UNSPECIFIED : BackupKind.FULL,
  createdAtMs: BigInt(at),
  startedAtMs: BigInt(state?.$case === 'queued' ? 0 : at + 500),
  endedAtMs: BigInt(state?.$case === 'queued' || state?.$case === 'running' ? 0 : at + 62_500),
  state,
  limitBytesPerSecond: 0n,
  attempt: 1,
  parentId: '',
  children: undefined,
  ...over,
});

export const queued: Job['state'] = { $case: 'queued', value: { waitsFor: '', lastError: undefined } };

/** A transfer of which the target is the slowest stage; the source was hardly waited for. */
export const stages: TransferStages = {
  source: { waitedMs: 0n, bytesPerSecond: undefined },
  wire: { waitedMs: 1_500n, bytesPerSecond: 200n * 1_048_576n },
  target: { waitedMs: 9_000n, bytesPerSecond: 33n * 1_048_576n },
  bottleneck: TransferStage.TARGET,
  limit: undefined,
};

export const running = (
  doneBytes: bigint,
  totalBytes?: bigint,
  stages?: TransferStages,
): NonNullable<Job['state']> & { $case: 'running' } => ({
  $case: 'running',
  value: {
    phase: 'transfer',
    doneBytes,
    totalBytes,
    rateBytesPerSecond: 104_857_600n,
    etaSeconds: totalBytes === undefined ? undefined : Number((totalBytes - doneBytes) / 104_857_600n),
    cancelling: false,
    waitsFor: '',
    stages,
  },
});

export const committed = (...warnings: string[]): Job['state'] => ({
  $case: 'committed',
  value: { streamBytes: 1_073_741_824n, warnings, stages: undefined },
});

export const failed = (code: string, message: string, hint: string): Job['state'] => ({
  $case: 'failed',
  value: { error: { code, message, hint }, warnings: [] },
});

export const cancelled: Job['state'] = { $case: 'cancelled', value: {} };

export const backupOf = (over: Partial<Backup> = {}): Backup => ({
  id: backupId,
  kind: BackupKind.FULL,
  source: {
    identity: { fsid: 'f5', image: { pool: 'rbd', namespace: '', image: 'vm1' }, imageId: '10ab' },
    snapId: 4n,
    layout: undefined,
    metadata: {},
    binaryMetadata: [],
    metadataOmitted: false,
    parent: '',
  },
  sizeBytes: 1_073_741_824n,
  streamBytes: 314_572_800n,
  dataBytes: 314_560_000n,
  streamGmac: Buffer.alloc(16, 0xab),
  committedAtMs: BigInt(at + 60_000),
  baseId: '',
  client: 'agent1',
  hold: undefined,
  ...over,
});

export const chainOf = (...backups: Backup[]): ListBackupsResponse => ({
  chain: {
    store: 'rbd2',
    name: 'vm1.2026-11-24.10:40:39.458883.bkp.image',
    backups,
    active: true,
    legacy: false,
    partial: false,
  },
  presentOnSource: backups.slice(-1).map(({ id }) => id),
  sourceUnknown: '',
  unreadable: undefined,
});

export const backupUsageOf = (addedBytes: bigint, over: Partial<BackupUsage> = {}): BackupUsage => ({
  backupId,
  addedBytes,
  sizeBytes: 1_073_741_824n,
  committedAtMs: BigInt(at + 60_000),
  kind: BackupKind.FULL,
  streamBytes: 314_572_800n,
  source: undefined,
  ...over,
});

export const usageOf = (backups: readonly BackupUsage[], over: Partial<ChainUsage> = {}): GetUsageResponse => ({
  usage: {
    store: 'rbd2',
    chain: 'vm1.2026-11-24.10:40:39.458883.bkp.image',
    source: { fsid: 'f5', image: { pool: 'rbd', namespace: '', image: 'vm1' }, imageId: '10ab' },
    client: 'agent1',
    active: true,
    legacy: false,
    backups: [...backups],
    ...over,
  },
  unreadable: undefined,
});

/** A chain that the receiver cannot read, instead of a chain or a usage. */
export const unreadableChain: UnreadableChain = {
  store: 'rbd2',
  name: 'vm2.2026-11-24.10:40:39.458883.bkp.image',
  error: { code: 'CEPH_PERMISSION', message: 'cannot list the snapshots', hint: 'give the rights' },
};

export interface FakeAgent {
  readonly socket: string;
  /** What was asked of it, like `startBackup`. */
  readonly calls: { readonly method: string; readonly request: unknown }[];
  /** Breaks every connection off. */
  die(): void;
  stop(): Promise<void>;
}

const info = {
  software: 'rbdferry/9.9.9',
  defaultReceiver: 'dr',
  receivers: [{ name: 'dr', address: 'backup1:7443', defaultStore: 'rbd2' }],
};

/**
 * An agent that does nothing but tell: a real gRPC server on a unix socket.
 *
 * @param states what a watch tells of the job, in this order; the last one is also the job's state otherwise
 */
export const startFakeAgent = async (
  options: { states?: readonly Job[]; stateIntervalMs?: number; methods?: Partial<ControlServiceServer> } = {},
): Promise<FakeAgent> => {
  const { states = [jobOf(queued), jobOf(committed())], stateIntervalMs = 5 } = options;
  const directory = mkdtempSync(join(tmpdir(), 'rbdferry-cli-'));
  const socket = join(directory, 'agent.sock');
  const last = states.at(-1);
  const told = () => unary(() => Promise.resolve({ job: last }));
  const methods: Partial<ControlServiceServer> = {
    startBackup: unary(() => Promise.resolve({ job: states[0] })),
    startRestore: unary(() => Promise.resolve({ job: states[0] })),
    getJob: told(),
    cancelJob: told(),
    listJobs: unary(() => Promise.resolve({ jobs: [...states] })),
    watchJob: serverStream(async function* () {
      for (const job of states) {
        yield { job };
        await new Promise((resolve) => setTimeout(resolve, stateIntervalMs));
      }
    }),
    listBackups: serverStream(async function* () {
      yield chainOf(backupOf());
    }),
    getUsage: serverStream(async function* () {
      yield usageOf([backupUsageOf(314_560_000n)]);
    }),
    deleteBackups: serverStream(async function* () {
      yield { event: { $case: 'deleted', value: backupId }, trashedUntilMs: 0n };
    }),
    deleteSourceSnapshots: unary(() => Promise.resolve({ snapshots: ['2026-11-24.22:40:43.707889.snap'] })),
    getAgentInfo: unary(() => Promise.resolve(info)),
    ...options.methods,
  };
  const calls: FakeAgent['calls'] = [];
  const server = new Server();
  server.addService(ControlServiceService, recording(methods, calls));
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix:${socket}`, ServerCredentials.createInsecure(), (error) => {
      if (error === null) resolve();
      else reject(error);
    });
  });
  return {
    socket,
    calls,
    die() {
      server.forceShutdown();
    },
    stop() {
      server.forceShutdown();
      rmSync(directory, { recursive: true, force: true });
      return Promise.resolve();
    },
  };
};

/** {@link startFakeAgent}; it ends with the test. */
export const agentForTest = async (...options: Parameters<typeof startFakeAgent>): Promise<FakeAgent> => {
  const agent = await startFakeAgent(...options);
  onTestFinished(() => agent.stop());
  return agent;
};

/** A stream of these messages. */
export const streamOf = <Message>(...messages: readonly Message[]) =>
  serverStream<unknown, Message>(async function* () {
    yield* messages;
  });

const recording = (methods: Partial<ControlServiceServer>, calls: FakeAgent['calls']): Record<string, never> =>
  Object.fromEntries(
    Object.entries(methods).map(([method, handle]) => [
      method,
      (call: { request: unknown }, callback: unknown) => {
        calls.push({ method, request: call.request });
        (handle as (call: unknown, callback: unknown) => void)(call, callback);
      },
    ]),
  ) as Record<string, never>;
