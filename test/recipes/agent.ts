import { setImmediate } from 'node:timers/promises';
import { AgentMetrics } from '@rbdferry/agent/agent-metrics.js';
import { agentConfigSchema } from '@rbdferry/agent/config.js';
import { deleteBackups } from '@rbdferry/agent/delete/delete-backups.js';
import { findBackup } from '@rbdferry/agent/backup/find-backup.js';
import { finishDeletion } from '@rbdferry/agent/delete/deletion.js';
import type { Selection } from '@rbdferry/agent/delete/selection.js';
import { jobKinds, looseEndKinds } from '@rbdferry/agent/job-kinds.js';
import { JobRunner } from '@rbdferry/agent/jobs/job-runner.js';
import { JobStore } from '@rbdferry/agent/jobs/job-store.js';
import type { JobRequest, KeptLooseEnd } from '@rbdferry/agent/jobs/job.js';
import { LooseEnds } from '@rbdferry/agent/jobs/loose-ends.js';
import { settleLeftovers } from '@rbdferry/agent/jobs/recovery.js';
import type { ReceiverClient } from '@rbdferry/agent/receiver-client/receiver-client.js';
import { createLogger } from '@rbdferry/core/log/logger.js';
import type { DyingCeph } from '../fake-ceph/dying-ceph.js';

interface AgentOptions {
  /** Of its job store. */
  readonly directory: string;
  /** Its cluster, and how long it lives. */
  readonly life: DyingCeph;
  readonly connect: () => Promise<ReceiverClient>;
  readonly now: () => number;
}

const tls = { ca: 'none', cert: 'none', key: 'none' };
const config = agentConfigSchema.parse({
  ceph: { user: 'agent' },
  receivers: { dr: { address: 'localhost:1', tls, store: 'main' } },
});

/** What an agent does, put together as its daemon does it, without socket and timers. */
export class Agent {
  readonly #options: AgentOptions;
  readonly #jobs: JobStore;
  readonly #looseEnds: LooseEnds;
  readonly #runner: JobRunner;
  readonly #log = createLogger('test', 'silent');

  constructor(options: AgentOptions) {
    this.#options = options;
    const { directory, life, connect, now } = options;
    const { ceph } = life;
    const asking = async <T>(question: (receiver: ReceiverClient) => Promise<T>): Promise<T> =>
      question(await connect());
    this.#jobs = new JobStore(directory);
    const kinds = looseEndKinds({
      ceph,
      findBackup: (_, id) => asking((receiver) => findBackup(receiver, id)),
      finishDeletion: (end) => asking((receiver) => finishDeletion(end, { receiver, ceph })),
      now,
    });
    this.#looseEnds = new LooseEnds(this.#jobs, { kinds, now });
    this.#runner = new JobRunner({
      kinds: jobKinds,
      store: this.#jobs,
      looseEnds: this.#looseEnds,
      ceph,
      config: () => config,
      log: this.#log,
      metrics: new AgentMetrics(),
      connect,
      now,
      onBroken: () => {},
    });
  }

  /** Runs a job to its end, however that is, and answers its id. */
  async run(request: JobRequest): Promise<string> {
    const { id } = this.#runner.submit(request);
    const never = new AbortController();
    for await (const _ of this.#runner.watch(id, never.signal));
    return id;
  }

  /** Goes on with what an earlier life had queued, as the daemon does at its start, until everything has ended. */
  async resume(): Promise<void> {
    const active = () => this.#jobs.list({ activeOnly: true, limit: 1000 });
    this.#runner.resume(
      active()
        .filter(({ id, state }) => state.kind === 'queued' && !this.#runner.owns(id))
        .toReversed(),
    );
    while (active().length > 0) await setImmediate();
  }

  /** All jobs, newest first. */
  jobs() {
    return this.#jobs.list({ limit: 1000 });
  }

  /** What it says of a job. */
  stateOf(jobId: string) {
    return this.#runner.get(jobId).state;
  }

  /** The backup that a job makes or restores; null before it is known. */
  backupOf(jobId: string) {
    return this.#runner.get(jobId).backupId;
  }

  /** @throws as the deletion does */
  async delete(selection: Selection): Promise<void> {
    const { life, connect, now } = this.#options;
    const deps = {
      ceph: life.ceph,
      receiver: await connect(),
      looseEnds: this.#looseEnds,
      dryRun: false,
      signal: new AbortController().signal,
      now,
    };
    for await (const _ of deleteBackups(selection, deps));
  }

  /** A round of the caretaker. Answers whether anything is left to do. */
  async settle(): Promise<boolean> {
    const { life, connect, now } = this.#options;
    const options = {
      kinds: jobKinds,
      store: this.#jobs,
      looseEnds: this.#looseEnds,
      runner: this.#runner,
      ceph: life.ceph,
      connect,
      log: this.#log,
      onEnded: () => {},
      now,
    };
    return (await settleLeftovers(options, new AbortController().signal)).left;
  }

  looseEnds(): KeptLooseEnd[] {
    return this.#jobs.looseEnds();
  }

  async close(): Promise<void> {
    await this.#runner.stop();
    this.#jobs.close();
  }
}
