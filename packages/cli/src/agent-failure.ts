import { status } from '@grpc/grpc-js';
import { FerryError, toFerryError } from '@rbdferry/core/errors/ferry-error.js';

/** What was asked of the agent when it failed. */
export interface AgentCall {
  /** Absolute path of the agent's socket. */
  readonly socket: string;
  readonly method: string;
  readonly timeoutMs?: number | undefined;
  /** The job that was asked about. */
  readonly jobId?: string | undefined;
}

/** How the agent is called in messages. */
export const agentName = (socket: string): string => `agent at ${JSON.stringify(socket)}`;

/**
 * Says what a failed call means to somebody in front of a terminal. The agent's own errors, and what a job failed with, stay as
 * they are; only failures of the connection to it are put into words.
 */
export const describeFailure = (thrown: unknown, call: AgentCall): FerryError => {
  const error = toFerryError(thrown);
  if (!error.message.startsWith(agentName(call.socket))) return error;
  if (call.method === 'watchJob' && call.jobId !== undefined) return lostJob(error, call.jobId);
  if (error.code === 'AGENT_UNREACHABLE') return unreachable(error, call);
  if (error.code === 'CONNECTION_LOST' || error.code === 'CANCELLED') return lost(error, call);
  return error;
};

/** Who cannot hear the agent cannot know: it may run on, and the job with it, or have been killed. */
export const lostJobHint = (jobId: string): string =>
  `the job goes on if the agent still runs; if it was stopped, it says what became of the job once it runs again: rbdferry job show ${jobId}`;

const lostJob = (error: FerryError, jobId: string): FerryError =>
  new FerryError('CONNECTION_LOST', `the connection to the agent broke while job ${jobId} was watched`, {
    hint: lostJobHint(jobId),
    cause: error,
  });

const unreachable = (error: FerryError, call: AgentCall): FerryError => {
  const socket = JSON.stringify(call.socket);
  const say = (message: string, hint?: string) =>
    new FerryError('AGENT_UNREACHABLE', message, { cause: error, ...(hint === undefined ? {} : { hint }) });
  if (isDeadline(error)) return say(noAnswer(call), slowHint(call));
  if (/\bENOENT\b/.test(error.message)) {
    return say(
      `there is no socket ${socket}`,
      'is rbdferry-agent running? Name its socket with --socket or RBDFERRY_SOCKET',
    );
  }
  if (/\b(EACCES|EPERM)\b/.test(error.message)) {
    return say(
      `you may not open the socket ${socket}`,
      'run as root, or as a member of the group that owns the socket',
    );
  }
  if (/\bECONNREFUSED\b/.test(error.message)) {
    return say(`nobody listens on the socket ${socket}`, 'is rbdferry-agent running?');
  }
  return error;
};

const isDeadline = ({ cause }: FerryError): boolean =>
  cause instanceof Error && 'code' in cause && cause.code === status.DEADLINE_EXCEEDED;

const noAnswer = ({ socket, timeoutMs = 0, method, jobId }: AgentCall): string =>
  method === 'cancelJob' && jobId !== undefined
    ? `job ${jobId} was asked to stop and has not ended within ${timeoutMs / 1000} s`
    : `the ${agentName(socket)} did not answer within ${timeoutMs / 1000} s`;

const slowHint = ({ method, jobId }: AgentCall): string => {
  if (method === 'cancelJob' && jobId !== undefined) return `it may still be cleaning up; rbdferry job watch ${jobId}`;
  return `${doneInPart(method)}it may be busy or frozen: look at its log, or restart it`;
};

/** What an unanswered call may have done all the same; empty when it changes nothing. */
const doneInPart = (method: string): string => {
  if (method.startsWith('start')) return 'the job may have been started: rbdferry jobs --active; ';
  if (method.startsWith('delete')) return 'some of it may be deleted: ask for the same again with --dry-run; ';
  return '';
};

const lost = (error: FerryError, { method, jobId, socket }: AgentCall): FerryError =>
  new FerryError('CONNECTION_LOST', `the connection to the ${agentName(socket)} broke`, {
    cause: error,
    hint: lostHint(method, jobId),
  });

const lostHint = (method: string, jobId: string | undefined): string => {
  if (jobId !== undefined) return `look what became of it: rbdferry job show ${jobId}`;
  return `${doneInPart(method)}is rbdferry-agent still running?`;
};
