import { execa, type Options } from 'execa';
import { ClusterError } from './cluster-error.js';

export interface CommandOptions {
  readonly timeoutMs?: number | undefined;
  readonly input?: Uint8Array | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Options every Ceph program here is run with: a fixed locale, and no CEPH_... of the caller's. */
export const CEPH_PROGRAM = {
  env: cleanEnv(process.env),
  extendEnv: false,
  forceKillAfterDelay: 2_000,
  stripFinalNewline: false,
} as const satisfies Options;

const DEFAULT_TIMEOUT_MS = 60_000;
const STDERR_TAIL_CHARS = 4_000;

/**
 * Runs one Ceph program to its end and answers its standard output, as text.
 * @throws ClusterError with the command and the tail of its standard error, when it fails, takes
 * longer than `timeoutMs` (60 s), or `signal` aborts
 */
export async function runCommand(
  program: string,
  args: readonly string[],
  { timeoutMs = DEFAULT_TIMEOUT_MS, input, signal }: CommandOptions = {},
): Promise<{ stdout: string }> {
  const result = await execa(program, args, {
    ...CEPH_PROGRAM,
    reject: false,
    timeout: timeoutMs,
    ...(input === undefined ? { stdin: 'ignore' } : { input }),
    ...(signal !== undefined && { cancelSignal: signal }),
  });
  if (result.failed) throw commandError(result, { timeoutMs, signal });
  return { stdout: result.stdout };
}

/** The parts of execa's result that say how a program failed. */
export interface CommandFailure {
  readonly escapedCommand: string;
  readonly timedOut: boolean;
  readonly isCanceled: boolean;
  readonly exitCode?: number | undefined;
  readonly signal?: string | undefined;
  readonly originalMessage?: string | undefined;
  readonly stderr?: string | Uint8Array;
}

/** The error for a program that failed: what was run, how it ended and what it last said. */
export function commandError(
  failure: CommandFailure,
  { timeoutMs, signal }: { timeoutMs: number; signal?: AbortSignal | undefined },
): ClusterError {
  const tail = Buffer.from(failure.stderr ?? '')
    .toString()
    .slice(-STDERR_TAIL_CHARS)
    .trim();
  const fact = describeFailure(failure, { timeoutMs, reason: signal?.reason });
  return new ClusterError([`${fact}: ${failure.escapedCommand}`, tail].join('\n').trim());
}

function cleanEnv(env: NodeJS.ProcessEnv): Record<string, string | undefined> {
  const kept = Object.entries(env).filter(([name]) => !name.startsWith('CEPH_'));
  return { ...Object.fromEntries(kept), LC_ALL: 'C' };
}

function describeFailure(
  failure: CommandFailure,
  { timeoutMs, reason }: { timeoutMs: number; reason: unknown },
): string {
  if (failure.timedOut) return `command took longer than ${timeoutMs} ms`;
  if (failure.isCanceled) return `command was given up (${String(reason)})`;
  if (failure.exitCode !== undefined) return `command ended with ${failure.exitCode}`;
  if (failure.signal !== undefined) return `command ended with ${failure.signal}`;
  return `command could not be run (${failure.originalMessage ?? 'no reason given'})`;
}
