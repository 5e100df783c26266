import { credentials } from '@grpc/grpc-js';
import {
  ControlServiceClient,
  DeleteBackupsRequest,
  DeletePolicy,
  ListBackupsRequest,
  StartBackupRequest,
  StartBackupsRequest,
  StartRestoreRequest,
  type BackupMode,
  type Job,
} from '@rbdferry/core/gen/rbdferry/v1/control.js';
import { callServerStream, callUnary, type CallSettings } from '@rbdferry/core/rpc/calls.js';

const settings: CallSettings = { peer: { unreachable: 'AGENT_UNREACHABLE', peer: 'the agent' } };
const jobTimeoutMs = 900_000;

/** A job from the request to its end, and when each of its phases began. */
export interface JobRun {
  readonly job: Job;
  readonly backupId: string;
  readonly seconds: number;
  /** Seconds by phase: queued, plan, snapshot, open, transfer, commit, clean-up... */
  readonly phases: Readonly<Record<string, number>>;
  readonly streamBytes: number;
}

/** The agent's control API as the command line uses it. */
export class Control {
  readonly #client: ControlServiceClient;

  constructor(socket: string) {
    this.#client = new ControlServiceClient(`unix:${socket}`, credentials.createInsecure());
  }

  close(): void {
    this.#client.close();
  }

  /** Queues a backup and answers the job's id. */
  async startBackup(image: string, mode: BackupMode): Promise<string> {
    const request = StartBackupRequest.fromPartial({ image, mode });
    const { job } = await callUnary(this.#client.startBackup.bind(this.#client), request, settings);
    return job?.id ?? '';
  }

  /** Queues a restore and answers the job's id. */
  async startRestore(backupId: string, to: string): Promise<string> {
    const request = StartRestoreRequest.fromPartial({ backupId, to });
    const { job } = await callUnary(this.#client.startRestore.bind(this.#client), request, settings);
    return job?.id ?? '';
  }

  /** @throws when the job does not commit */
  async backup(image: string, mode: BackupMode): Promise<JobRun> {
    const begin = performance.now();
    return this.#follow(await this.startBackup(image, mode), begin);
  }

  /** Backs up images as one batch. @throws when one of its jobs does not commit */
  async batch(images: readonly string[], mode: BackupMode): Promise<JobRun> {
    const begin = performance.now();
    const request = StartBackupsRequest.fromPartial({ selection: { images: [...images] }, mode });
    const { job } = await callUnary(this.#client.startBackups.bind(this.#client), request, settings);
    return this.#follow(job?.id ?? '', begin);
  }

  /** @throws when the job does not commit */
  async restore(backupId: string, to: string): Promise<JobRun> {
    const begin = performance.now();
    return this.#follow(await this.startRestore(backupId, to), begin);
  }

  /** Answers when the job has ended and cleaned up. */
  async cancel(jobId: string): Promise<void> {
    await callUnary(this.#client.cancelJob.bind(this.#client), { jobId }, settings);
  }

  /** Bytes that a running job has moved. */
  async doneBytes(jobId: string): Promise<number> {
    const { job } = await callUnary(this.#client.getJob.bind(this.#client), { jobId }, settings);
    if (job?.state?.$case !== 'running') throw new Error(`the job does not run: ${describe(job)}`);
    return Number(job.state.value.doneBytes);
  }

  /** Removes the chain that a backup belongs to. */
  deleteChain(backupId: string): Promise<void> {
    return this.#delete({ $case: 'chain', value: backupId.slice(0, backupId.lastIndexOf('@')) });
  }

  /** Removes all backups of an image but the newest. */
  deleteAllButNewest(image: string): Promise<void> {
    return this.#delete({ $case: 'policy', value: DeletePolicy.fromPartial({ images: [image], keepLast: 1 }) });
  }

  /** What a rule for all images would remove. */
  planRetention(keepLast: number): Promise<void> {
    return this.#delete({ $case: 'policy', value: DeletePolicy.fromPartial({ allImages: true, keepLast }) }, true);
  }

  /** The chains of an image, or of the whole store (empty). */
  async list(image: string): Promise<void> {
    const request = ListBackupsRequest.fromPartial({ image });
    const stream = callServerStream(
      (metadata, options) => this.#client.listBackups(request, metadata, options),
      settings,
    );
    for await (const _chain of stream);
  }

  async #delete(selection: DeleteBackupsRequest['selection'], dryRun = false): Promise<void> {
    const request = DeleteBackupsRequest.fromPartial({ selection, dryRun });
    const stream = callServerStream(
      (metadata, options) => this.#client.deleteBackups(request, metadata, options),
      settings,
    );
    for await (const _event of stream);
  }

  async #follow(jobId: string, begin: number): Promise<JobRun> {
    const stream = callServerStream((metadata, options) => this.#client.watchJob({ jobId }, metadata, options), {
      ...settings,
      timeoutMs: jobTimeoutMs,
    });
    const phases = new PhaseClock(begin);
    let last: Job | undefined;
    for await (const { job } of stream) {
      last = job;
      phases.enter(job === undefined ? 'unknown' : phaseOf(job));
    }
    const end = performance.now();
    if (last?.state?.$case !== 'committed') throw new Error(`the job did not commit: ${describe(last)}`);
    return {
      job: last,
      backupId: last.backupId,
      seconds: (end - begin) / 1000,
      phases: phases.secondsUntil(end),
      streamBytes: Number(last.state.value.streamBytes),
    };
  }
}

const phaseOf = (job: Job): string =>
  job.state?.$case === 'running' ? job.state.value.phase || 'start' : (job.state?.$case ?? 'unknown');

const describe = (job: Job | undefined): string =>
  job?.state?.$case === 'failed' ? JSON.stringify(job.state.value.error) : (job?.state?.$case ?? 'no answer');

/** Adds up the time in each phase. */
class PhaseClock {
  readonly #seconds: Record<string, number> = {};
  #phase = 'queued';
  #since: number;

  constructor(begin: number) {
    this.#since = begin;
  }

  enter(phase: string): void {
    if (phase === this.#phase) return;
    this.#leave(performance.now());
    this.#phase = phase;
  }

  secondsUntil(end: number): Record<string, number> {
    this.#leave(end);
    return this.#seconds;
  }

  #leave(now: number): void {
    this.#seconds[this.#phase] = (this.#seconds[this.#phase] ?? 0) + (now - this.#since) / 1000;
    this.#since = now;
  }
}
