import { throwIfAborted } from '@rbdferry/core/errors/ferry-error.js';
import { unlessAborted } from '@rbdferry/core/transfer/stall.js';
import type { AgentClient, ReadRequest } from '../client.js';
import { EndedWith } from '../end-with.js';
import { exitStatusOf } from '../exit.js';
import { catchInterruption } from '../interruption.js';
import { note, printLine } from '../output.js';
import type { ProgressDisplay } from '../render/progress.js';
import { printDone } from '../write-output.js';
import { FileTarget } from './file-target.js';
import { destinationFor, PartialFile, removeUnfinished } from './partial-file.js';
import { convertToQcow2, requireQemuImg } from './qemu-img.js';
import type { RawTarget } from './raw-target.js';
import { readInto, type ReadIn } from './read-into.js';
import { asJob } from './progress.js';
import { StdoutTarget } from './stdout-target.js';

export type FileFormat = 'raw' | 'qcow2';

export interface ToFile {
  /** `-` for stdout. */
  readonly path: string;
  readonly format: FileFormat;
  readonly replace: boolean;
  readonly json: boolean;
}

/** A closed terminal counts as well: the file would be left unfinished. */
const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Writes a backup's content to a file, or to stdout. Everything that can be known is looked at before the agent is asked; the file has its
 * name when it is whole and not before, and whatever goes wrong, no part of it is left.
 *
 * @throws INVALID_REQUEST, OUTPUT_FAILED, EndedWith when it was interrupted, what the agent's call throws
 */
export const restoreToFile = async (
  agent: Pick<AgentClient, 'readBackup'>,
  request: ReadRequest,
  to: ToFile,
): Promise<void> => {
  const display = process.stderr.isTTY
    ? await (await import('../render/progress.js')).progressOnTerminal()
    : noProgress;
  const interruption = catchInterruption(() => {
    removeUnfinished();
    process.exit(exitStatusOf('CANCELLED'));
  }, signals);
  const { signal } = interruption;
  let target: RawTarget | undefined;
  try {
    target = await targetFor(to, signal);
    const read = await readInto(agent.readBackup(request, signal), untilAborted(target, signal), {
      onBackup: ({ id }) => {
        if (!('backupId' in request) || request.backupId !== id) note(`restoring ${id}`);
      },
      onProgress: (progress) => display.update(asJob(progress)),
    });
    throwIfAborted(signal);
    await target.finish();
    display.stop();
    await report(read, to);
  } catch (thrown) {
    display.stop();
    await target?.discard();
    if (!signal.aborted) throw thrown;
    leave(to);
  } finally {
    display.stop();
    interruption.release();
  }
};

const noProgress: ProgressDisplay = { update() {}, stop() {} };

const targetFor = async ({ path, format, replace }: ToFile, signal: AbortSignal): Promise<RawTarget> => {
  if (path === '-') return new StdoutTarget(signal);
  if (format === 'qcow2') await requireQemuImg();
  const destination = await destinationFor(path, replace);
  const raw = new PartialFile(destination);
  if (format === 'raw') return new FileTarget(raw);
  return new FileTarget(raw, async () => {
    const qcow2 = new PartialFile(destination);
    try {
      await convertToQcow2(raw.path, qcow2.path, signal);
      await raw.remove();
      await qcow2.publish();
    } finally {
      await qcow2.remove();
    }
  });
};

/** Whoever wants to stop waits for no disk and no reader. */
const untilAborted = (target: RawTarget, signal: AbortSignal): Pick<RawTarget, 'begin' | 'write'> => ({
  begin: (sizeBytes) => unlessAborted(target.begin(sizeBytes), signal),
  write: (extents) => unlessAborted(target.write(extents), signal),
});

/** What was written to stdout cannot be taken back, and a process that waits for its reader would not end. */
const leave = ({ path }: ToFile): never => {
  const status = exitStatusOf('CANCELLED');
  note(path === '-' ? 'cancelled; what was written is not the whole backup' : `cancelled; nothing is left of ${path}`);
  if (path === '-') process.exit(status);
  throw new EndedWith(status);
};

const report = async ({ backup, streamBytes, dataBytes }: ReadIn, { path, format, json }: ToFile): Promise<void> => {
  if (path === '-') return;
  const { id: backupId, sizeBytes } = backup;
  const text = json
    ? (await import('../render/json.js')).toJson({ backupId, path, format, sizeBytes, dataBytes, streamBytes })
    : path;
  await printDone(`the backup is in ${path}`, printLine(text));
};
