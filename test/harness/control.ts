import { credentials } from '@grpc/grpc-js';
import { BackupMode, ControlServiceClient, type Job } from '@rbdferry/core/gen/rbdferry/v1/control.js';
import { callServerStream, callUnary, type CallSettings } from '@rbdferry/core/rpc/calls.js';

const settings: CallSettings = { peer: { unreachable: 'AGENT_UNREACHABLE', peer: 'the agent' } };

/** The agent's control API, for tests that must be quicker than a command line. */
export class Control {
  readonly #client: ControlServiceClient;

  constructor(socket: string) {
    this.#client = new ControlServiceClient(`unix:${socket}`, credentials.createInsecure());
  }

  close(): void {
    this.#client.close();
  }

  async startBackup(image: string, limitBytesPerSecond = 0n): Promise<Job> {
    const request = {
      image,
      mode: BackupMode.AUTO,
      receiver: '',
      store: '',
      idempotencyKey: '',
      limitBytesPerSecond,
      attempts: 1,
    };
    return jobOf(await callUnary(this.#client.startBackup.bind(this.#client), request, settings));
  }

  async startRestore(backupId: string, to: string, limitBytesPerSecond = 0n): Promise<Job> {
    const request = {
      backupId,
      to,
      receiver: '',
      replace: false,
      idempotencyKey: '',
      limitBytesPerSecond,
      store: '',
      image: '',
      atMs: undefined,
      attempts: 1,
    };
    return jobOf(await callUnary(this.#client.startRestore.bind(this.#client), request, settings));
  }

  async cancel(jobId: string): Promise<Job> {
    return jobOf(await callUnary(this.#client.cancelJob.bind(this.#client), { jobId }, settings));
  }

  /** The first state of the job that matches, or its end. */
  async until(jobId: string, matches: (job: Job) => boolean): Promise<Job> {
    const stream = callServerStream(
      (metadata, options) => this.#client.watchJob({ jobId }, metadata, options),
      settings,
    );
    let last: Job | undefined;
    for await (const { job } of stream) {
      last = job;
      if (job !== undefined && matches(job)) return job;
    }
    return jobOf({ job: last });
  }
}

const jobOf = ({ job }: { job: Job | undefined }): Job => {
  if (job === undefined) throw new Error('the agent answered without a job');
  return job;
};

/** Name of the job's state. */
export const stateOf = (job: Job): string => job.state?.$case ?? 'none';

export const phaseOf = (job: Job): string => (job.state?.$case === 'running' ? job.state.value.phase : '');

export const doneBytesOf = (job: Job): bigint => (job.state?.$case === 'running' ? job.state.value.doneBytes : 0n);

/** Undefined while the total is not known. */
export const totalBytesOf = ({ state }: Job): bigint | undefined =>
  state?.$case === 'running' ? state.value.totalBytes : undefined;

export const errorCodeOf = (job: Job): string =>
  job.state?.$case === 'failed' ? (job.state.value.error?.code ?? '') : '';

export const hasEnded = (job: Job): boolean => !['queued', 'running'].includes(stateOf(job));
