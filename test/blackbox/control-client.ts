import { credentials } from '@grpc/grpc-js';
import { Caller, type Message } from './wire.js';

export interface Job {
  readonly id: string;
  readonly kind: string;
  readonly image: string;
  readonly receiver: string;
  readonly store: string;
  readonly backupId: string;
  readonly backupKind: string;
  readonly createdAtMs: string;
  readonly startedAtMs: string;
  readonly endedAtMs: string;
  /** The state that is set. */
  readonly state: string;
  readonly queued?: Message;
  readonly running?: { readonly phase: string; readonly doneBytes: string };
  readonly committed?: { readonly streamBytes: string; readonly warnings: readonly string[] };
  readonly failed?: { readonly error: { readonly code: string; readonly message: string; readonly hint: string } };
}

/** A client of an agent, made of the .proto files alone. */
export class ControlClient {
  readonly caller: Caller;

  constructor(socket: string) {
    this.caller = new Caller('ControlService', `unix:${socket}`, credentials.createInsecure());
  }

  async start(method: 'startBackup' | 'startRestore', request: Message): Promise<Job> {
    return (await this.caller.unary<{ job: Job }>(method, request)).job;
  }

  /** Every state that a watcher is shown. */
  async watch(id: string): Promise<Job[]> {
    return (await this.caller.all<{ job: Job }>('watchJob', { jobId: id })).map(({ job }) => job);
  }

  /** The job as it is when it has ended. */
  async ended({ id }: Job): Promise<Job> {
    const last = (await this.watch(id)).at(-1);
    if (last === undefined) throw new Error('the watch showed nothing');
    return last;
  }

  /** Watches a job until it has sent some of its data. */
  async untilDataIsSent({ id }: Job): Promise<void> {
    for await (const { job } of this.caller.stream<{ job: Job }>('watchJob', { jobId: id }))
      if (job.running?.phase === 'transfer' && job.running.doneBytes !== '0') return;
  }

  close(): void {
    this.caller.close();
  }
}
