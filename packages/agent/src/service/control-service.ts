import type { CephPort } from '@rbdferry/core/ceph/port.js';
import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { orThrow } from '@rbdferry/core/errors/parsed.js';
import {
  type ControlServiceServer,
  type DeleteBackupsRequest,
  type DeleteBackupsResponse,
  type GetUsageRequest,
  type GetUsageResponse,
  type ListBackupsRequest,
  type ListBackupsResponse,
} from '@rbdferry/core/gen/rbdferry/v1/control.js';
import type { BackupId, ChainName } from '@rbdferry/core/model/backup-id.js';
import { formatImageSpec, parseImageSpec } from '@rbdferry/core/model/image-spec.js';
import type { Logger } from '@rbdferry/core/log/logger.js';
import { createHandlers, type FailureListener } from '@rbdferry/core/rpc/handlers.js';
import { software } from '@rbdferry/core/rpc/protocol.js';
import { chainNameFromWire, chainToWire, requireField, usageToWire } from '@rbdferry/core/wire/convert.js';
import { parseNamedBackup, type NamedBackup } from '@rbdferry/core/wire/short-id.js';
import { unreadableToWire } from '@rbdferry/core/wire/unreadable-chain.js';
import type { AgentMetrics } from '../agent-metrics.js';
import { requireOnSource } from '../backup/require-on-source.js';
import { namedBackups, wholeIds, type WholeIdsDeps } from '../backup-ids.js';
import { backupBatchOf, restoreBatchOf } from '../batch/wire.js';
import { backupRequestOf } from '../backup/wire.js';
import { choosePlace, defaultReceiver, type Place } from '../choose-receiver.js';
import type { AgentConfig } from '../config.js';
import { deleteBackups } from '../delete/delete-backups.js';
import { deleteSourceSnapshots } from '../delete/delete-source-snapshots.js';
import type { Selection } from '../delete/selection.js';
import { deleteEventToWire, policyOf } from '../delete/wire.js';
import type { JobStore } from '../jobs/job-store.js';
import type { LooseEnds } from '../jobs/loose-ends.js';
import type { JobRunner } from '../jobs/job-runner.js';
import type { ConnectOptions, ReceiverClient } from '../receiver-client/receiver-client.js';
import { holdBackup, releaseBackup } from './holds.js';
import { restoreRequestFor } from './restore-request.js';
import { jobToWire } from './job-wire.js';
import { listBackups, type Listed } from './list-backups.js';
import { readBackupCall, releaseSentData } from './read-backup-call.js';
import { usageIn, type UsageOf } from './usage.js';

export interface ControlServiceOptions {
  /** The one that holds now. */
  readonly config: () => AgentConfig;
  readonly runner: JobRunner;
  readonly jobs: Pick<JobStore, 'madeSnapshots' | 'byIdempotencyKey'>;
  readonly looseEnds: Pick<LooseEnds, 'begin'>;
  /** Told when a deletion has left something to settle. */
  readonly onBroken: () => void;
  readonly ceph: CephPort;
  readonly connect: (receiver: string, options: ConnectOptions) => Promise<ReceiverClient>;
  readonly metrics: Pick<AgentMetrics, 'transfers'>;
  readonly log: Logger;
  readonly onFailure: FailureListener;
}

const maxListedJobs = 1000;
/** Each takes some hundred bytes, and a message may have 16 MiB. */
const maxListedChildren = 20_000;

/** The agent's control API. Every check that needs no cluster is made here, before a job exists. */
export const createControlService = (options: ControlServiceOptions): ControlServiceServer => {
  const { config, runner } = options;
  const { unary, serverStream } = createHandlers(options.onFailure);
  const choose = (named: Place): Place => choosePlace(config(), named);

  return {
    startBackup: unary((request) => {
      const job = runner.submit(backupRequestOf(request, choose), keyOf(request.idempotencyKey));
      return Promise.resolve({ job: jobToWire(job) });
    }),

    startBackups: unary((request) => {
      const job = runner.submit(backupBatchOf(request, choose), keyOf(request.idempotencyKey));
      return Promise.resolve({ job: jobToWire(job) });
    }),

    startRestore: unary(async (request, { signal }) => {
      const key = keyOf(request.idempotencyKey);
      const asked = await restoreRequestFor(request, { ...options, choose, key, signal });
      return { job: jobToWire(runner.submit(asked, key)) };
    }),

    startRestores: unary((request) => {
      const job = runner.submit(restoreBatchOf(request, choose), keyOf(request.idempotencyKey));
      return Promise.resolve({ job: jobToWire(job) });
    }),

    readBackup: serverStream((request, { signal }) => readBackupCall(request, { ...options, choose, signal }), {
      onSent: releaseSentData,
    }),

    getJob: unary((request) => Promise.resolve({ job: jobToWire(runner.get(request.jobId)) })),

    listJobs: unary((request) => {
      const image = request.image === '' ? undefined : imageOf(request.image);
      const parent = request.parentId === '' ? undefined : runner.get(request.parentId).id;
      const most = parent === undefined ? maxListedJobs : maxListedChildren;
      const limit = request.limit === 0 ? most : Math.min(request.limit, most);
      // The jobs of a batch are told when they are asked for, or when their image is.
      const withoutChildren = parent === undefined && image === undefined;
      const jobs = runner.list({ image, activeOnly: request.activeOnly, parent, withoutChildren, limit });
      return Promise.resolve({ jobs: jobs.map(jobToWire) });
    }),

    watchJob: serverStream(async function* (request, { signal }) {
      for await (const job of runner.watch(request.jobId, signal)) yield { job: jobToWire(job) };
    }),

    cancelJob: unary(async (request, { signal }) => ({ job: jobToWire(await runner.cancel(request.jobId, signal)) })),

    listBackups: serverStream((request, { signal }) => listBackupsCall(request, options, signal)),

    deleteBackups: serverStream((request, { signal }) => deleteBackupsCall(request, options, signal)),

    holdBackup: unary((request, { signal }) => holdBackup(request, options, signal)),

    releaseBackup: unary((request, { signal }) => releaseBackup(request, options, signal)),

    deleteSourceSnapshots: unary(async (request, { signal }) => {
      const image = orThrow(parseImageSpec(request.image), 'INVALID_IMAGE_SPEC');
      const { receiver: at, store } = choose(request);
      const receiver = await options.connect(at, { signal });
      try {
        const deps = { ceph: options.ceph, jobs: options.jobs, receiver, dryRun: request.dryRun, signal };
        const name = formatImageSpec(image);
        return { snapshots: await runner.exclusively(name, () => deleteSourceSnapshots(image, store, deps)) };
      } finally {
        receiver.close();
      }
    }),

    getUsage: serverStream((request, { signal }) => usageCall(request, options, signal)),

    getAgentInfo: unary(() =>
      Promise.resolve({
        software,
        defaultReceiver: defaultReceiver(config()),
        receivers: Object.entries(config().receivers).map(([name, { address, store }]) => ({
          name,
          address,
          defaultStore: store,
        })),
      }),
    ),
  };
};

const imageOf = (text: string): string => formatImageSpec(orThrow(parseImageSpec(text), 'INVALID_IMAGE_SPEC'));

const keyOf = (key: string): string | null => {
  if (key.length > 200) throw new FerryError('INVALID_REQUEST', 'the idempotency key is longer than 200 characters');
  return key === '' ? null : key;
};

async function* deleteBackupsCall(
  request: DeleteBackupsRequest,
  options: ControlServiceOptions,
  signal: AbortSignal,
): AsyncGenerator<DeleteBackupsResponse, void, undefined> {
  const { receiver: name, store } = choosePlace(options.config(), request);
  const { named, withIds } = selectionOf(request, store);
  const receiver = await options.connect(name, { signal });
  try {
    const { ceph, looseEnds } = options;
    const selection = withIds(await wholeIds(named, [store], { receiver, signal }));
    const deps = { ceph, looseEnds, receiver, dryRun: request.dryRun, signal, now: () => receiver.now() };
    for await (const event of deleteBackups(selection, deps)) {
      yield deleteEventToWire(event);
    }
  } catch (thrown) {
    options.onBroken();
    throw thrown;
  } finally {
    receiver.close();
  }
}

/** A selection but for the ids in it, of which short ones are still to be looked up. */
interface SelectionToBe {
  readonly named: readonly NamedBackup[];
  readonly withIds: (ids: readonly BackupId[]) => Selection;
}

const selectionOf = ({ selection }: DeleteBackupsRequest, store: string): SelectionToBe => {
  switch (selection?.$case) {
    case 'ids': {
      const named = namedBackups(selection.value.ids);
      if (named.length === 0) throw new FerryError('INVALID_REQUEST', 'no backup id was given');
      return { named, withIds: (ids) => ({ kind: 'ids', ids }) };
    }
    case 'chain': {
      const chain = chainOf(selection.value, store);
      return { named: [], withIds: () => ({ kind: 'chain', ...chain }) };
    }
    case 'policy': {
      const policy = policyOf(selection.value, store);
      return {
        named: namedBackups(selection.value.keepIds),
        withIds: (keepIds) => ({ ...policy, policy: { ...policy.policy, keepIds } }),
      };
    }
    case undefined:
      throw new FerryError('INVALID_REQUEST', 'say what to delete: ids, a chain, or a policy');
  }
};

async function* usageCall(
  request: GetUsageRequest,
  options: ControlServiceOptions,
  signal: AbortSignal,
): AsyncGenerator<GetUsageResponse, void, undefined> {
  const { of, store: named } = usageOf(request);
  const { receiver: name, store } = choosePlace(options.config(), { receiver: request.receiver, store: named });
  const receiver = await options.connect(name, { signal });
  try {
    const stores = request.allStores ? receiver.stores : [store];
    const whose = of.kind === 'named' ? await theBackup(of.named, stores, { receiver, signal }) : of;
    for await (const told of usageIn(stores, whose, { ceph: options.ceph, receiver, signal })) {
      yield told.kind === 'chain'
        ? { usage: usageToWire(told.usage), unreadable: undefined }
        : { usage: undefined, unreadable: unreadableToWire(told.chain) };
    }
  } finally {
    receiver.close();
  }
}

const theBackup = async (named: NamedBackup, stores: readonly string[], deps: WholeIdsDeps): Promise<UsageOf> => {
  const [id] = await wholeIds([named], stores, deps);
  return { kind: 'backup', id: requireField(id, 'backup id') };
};

type AskedUsage = UsageOf | { readonly kind: 'named'; readonly named: NamedBackup };

/** Whose usage is asked for, and the store that the request names (empty for the default one). */
const usageOf = ({ image, chain, backupId, store }: GetUsageRequest): { of: AskedUsage; store: string } => {
  if ([image, chain, backupId].filter((text) => text !== '').length > 1) {
    throw new FerryError('INVALID_REQUEST', 'ask for an image, a chain or a backup, not for several of them');
  }
  if (backupId !== '') {
    const named = orThrow(parseNamedBackup(backupId), 'INVALID_BACKUP_ID');
    return { of: { kind: 'named', named }, store: named.kind === 'whole' ? named.store : store };
  }
  if (chain !== '') {
    const named = chainOf(chain, store);
    return { of: { kind: 'chain', chain: named.chain }, store: named.store };
  }
  if (image === '') return { of: { kind: 'everything' }, store };
  return { of: { kind: 'image', image: orThrow(parseImageSpec(image), 'INVALID_IMAGE_SPEC') }, store };
};

/** [STORE/]IMAGE.TIMESTAMP.bkp.image */
const chainOf = (text: string, store: string): { chain: ChainName; store: string } => {
  const slash = text.indexOf('/');
  return { chain: chainNameFromWire(text.slice(slash + 1)), store: slash < 0 ? store : text.slice(0, slash) };
};

async function* listBackupsCall(
  request: ListBackupsRequest,
  options: ControlServiceOptions,
  signal: AbortSignal,
): AsyncGenerator<ListBackupsResponse, void, undefined> {
  const { receiver: name, store } = choosePlace(options.config(), request);
  const image = request.image === '' ? null : orThrow(parseImageSpec(request.image), 'INVALID_IMAGE_SPEC');
  const receiver = await options.connect(name, { signal });
  try {
    let isEmpty = true;
    for await (const listed of listBackups(store, image, { ceph: options.ceph, receiver, signal })) {
      isEmpty = false;
      yield listedToWire(listed);
    }
    if (image !== null && isEmpty) await requireOnSource(image, { ceph: options.ceph, store, signal });
  } finally {
    receiver.close();
  }
}

const listedToWire = (listed: Listed): ListBackupsResponse =>
  listed.kind === 'chain'
    ? {
        chain: chainToWire(listed.chain),
        presentOnSource: [...listed.presentOnSource],
        sourceUnknown: listed.sourceUnknown?.message ?? '',
        unreadable: undefined,
      }
    : { chain: undefined, presentOnSource: [], sourceUnknown: '', unreadable: unreadableToWire(listed.chain) };
