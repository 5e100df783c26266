import type { CephPort } from '@rbdferry/core/ceph/port.js';
import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { orThrow } from '@rbdferry/core/errors/parsed.js';
import {
  ControlServiceService,
  BackupMode as WireMode,
  type ControlServiceServer,
  type ListBackupsRequest,
  type ListBackupsResponse,
} from '@rbdferry/core/gen/rbdferry/v1/control.js';
import { parseBackupId, splitChainName, type BackupId } from '@rbdferry/core/model/backup-id.js';
import { chainSource, sameSpec, type Chain } from '@rbdferry/core/model/chain.js';
import { formatImageSpec, parseImageSpec, type ImageSpec } from '@rbdferry/core/model/image-spec.js';
import { commonBackups, type BackupMode } from '@rbdferry/core/model/planner.js';
import { createHandlers, type FailureListener } from '@rbdferry/core/rpc/handlers.js';
import { software } from '@rbdferry/core/rpc/protocol.js';
import { chainToWire } from '@rbdferry/core/wire/convert.js';
import { chainsOf, lookAtSource, type SourceImage } from '../backup/look-at-source.js';
import type { AgentConfig, ReceiverConfig } from '../config.js';
import type { JobRunner } from '../jobs/job-runner.js';
import { ifExists } from '../jobs/loose-ends.js';
import type { ReceiverClient } from '../receiver-client/receiver-client.js';
import { jobToWire } from './job-wire.js';

export interface ControlServiceOptions {
  readonly config: AgentConfig;
  readonly runner: JobRunner;
  readonly ceph: CephPort;
  readonly connect: (receiver: string, options: { signal: AbortSignal }) => Promise<ReceiverClient>;
  readonly onFailure: FailureListener;
}

export const controlDefinition = ControlServiceService;

const maxListedJobs = 1000;

/** The agent's control API. Every check that needs no cluster is made here, before a job exists. */
export const createControlService = (options: ControlServiceOptions): ControlServiceServer => {
  const { config, runner } = options;
  const { unary, serverStream } = createHandlers(options.onFailure);

  return {
    startBackup: unary((request) => {
      const image = imageOf(request.image);
      const { name, store } = chooseReceiver(config, request.receiver, request.store);
      const job = runner.submit({ kind: 'backup', image, mode: modeOf(request.mode), receiver: name, store });
      return Promise.resolve({ job: jobToWire(job) });
    }),

    startRestore: unary((request) => {
      const id = orThrow(parseBackupId(request.backupId), 'INVALID_BACKUP_ID');
      const { name } = chooseReceiver(config, request.receiver, id.store);
      const job = runner.submit({
        kind: 'restore',
        backupId: request.backupId as BackupId,
        receiver: name,
        store: id.store,
        to: request.to === '' ? null : imageOf(request.to),
        replace: request.replace,
      });
      return Promise.resolve({ job: jobToWire(job) });
    }),

    getJob: unary((request) => Promise.resolve({ job: jobToWire(runner.get(request.jobId)) })),

    listJobs: unary((request) => {
      const limit = request.limit === 0 ? maxListedJobs : Math.min(request.limit, maxListedJobs);
      const image = request.image === '' ? undefined : imageOf(request.image);
      const jobs = runner.list({ image, activeOnly: request.activeOnly, limit });
      return Promise.resolve({ jobs: jobs.map(jobToWire) });
    }),

    watchJob: serverStream(async function* (request, { signal }) {
      for await (const job of runner.watch(request.jobId, signal)) yield { job: jobToWire(job) };
    }),

    cancelJob: unary(async (request, { signal }) => ({ job: jobToWire(await runner.cancel(request.jobId, signal)) })),

    listBackups: serverStream((request, { signal }) => listBackups(request, options, signal)),

    getAgentInfo: unary(() =>
      Promise.resolve({
        software,
        defaultReceiver: defaultReceiver(config),
        receivers: Object.entries(config.receivers).map(([name, { address, store }]) => ({
          name,
          address,
          defaultStore: store,
        })),
      }),
    ),
  };
};

const imageOf = (text: string): string => formatImageSpec(orThrow(parseImageSpec(text), 'INVALID_IMAGE_SPEC'));

const modeOf = (mode: WireMode): BackupMode => {
  switch (mode) {
    case WireMode.FULL:
      return 'full';
    case WireMode.INCREMENTAL:
      return 'incr';
    case WireMode.AUTO:
    case WireMode.UNSPECIFIED:
      return 'auto';
    default:
      throw new FerryError('INVALID_REQUEST', `there is no backup mode ${String(mode)}`);
  }
};

/** The receiver used when a request names none. */
const defaultReceiver = (config: AgentConfig): string =>
  config.default_receiver ?? Object.keys(config.receivers)[0] ?? '';

/** @throws RECEIVER_NOT_FOUND */
const chooseReceiver = (config: AgentConfig, receiver: string, store: string): { name: string; store: string } => {
  const name = receiver === '' ? defaultReceiver(config) : receiver;
  const found = receiverConfig(config, name);
  return { name, store: store === '' ? found.store : store };
};

/** @throws RECEIVER_NOT_FOUND */
export const receiverConfig = (config: AgentConfig, name: string): ReceiverConfig => {
  const found = Object.hasOwn(config.receivers, name) ? config.receivers[name] : undefined;
  if (found !== undefined) return found;
  throw new FerryError('RECEIVER_NOT_FOUND', `the agent has no receiver ${JSON.stringify(name)}`, {
    hint: `it has: ${Object.keys(config.receivers).join(', ')}`,
  });
};

async function* listBackups(
  request: ListBackupsRequest,
  options: ControlServiceOptions,
  signal: AbortSignal,
): AsyncGenerator<ListBackupsResponse, void, undefined> {
  const { name, store } = chooseReceiver(options.config, request.receiver, request.store);
  const image = request.image === '' ? null : orThrow(parseImageSpec(request.image), 'INVALID_IMAGE_SPEC');
  const receiver = await options.connect(name, { signal });
  try {
    const sources = new SourceLooks(options.ceph);
    if (image === null) {
      for await (const chain of receiver.chains(store, null, { signal })) yield sources.answer(chain);
      return;
    }
    for (const chain of await chainsOfImage(image, store, receiver, sources, signal)) yield sources.answer(chain);
  } finally {
    receiver.close();
  }
}

/** Chains that belong to the image, hold backups of it, or are the older tool's of that name. */
const chainsOfImage = async (
  image: ImageSpec,
  store: string,
  receiver: ReceiverClient,
  sources: SourceLooks,
  signal: AbortSignal,
): Promise<Chain[]> => {
  const source = await sources.look(image);
  const chains: Chain[] = [];
  if (source === null) for await (const chain of receiver.chains(store, image.image, { signal })) chains.push(chain);
  else chains.push(...(await chainsOf(source, store, receiver, { signal })));
  return chains.filter((chain) =>
    chain.legacy
      ? splitChainName(chain.name)?.image === image.image
      : chain.backups.some((backup) => backup.source !== null && sameSpec(backup.source.identity.image, image)),
  );
};

/** Looks at each source image once. */
class SourceLooks {
  readonly #ceph: CephPort;
  readonly #seen = new Map<string, Promise<SourceImage | null>>();

  constructor(ceph: CephPort) {
    this.#ceph = ceph;
  }

  /** Null when the image is not there (any more). */
  look(image: ImageSpec): Promise<SourceImage | null> {
    const key = formatImageSpec(image);
    const seen = this.#seen.get(key) ?? ifExists(lookAtSource(this.#ceph, image, {}));
    this.#seen.set(key, seen);
    return seen;
  }

  async #common(chain: Chain): Promise<string[]> {
    const identity = chainSource(chain);
    const source = identity === null ? null : await this.look(identity.image);
    return source === null ? [] : commonBackups(source.view, [chain]).map((backup) => backup.id);
  }

  async answer(chain: Chain): Promise<ListBackupsResponse> {
    return { chain: chainToWire(chain), presentOnSource: await this.#common(chain) };
  }
}
