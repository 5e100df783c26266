import { spawn } from 'node:child_process';
import { FerryError, throwIfAborted } from '@rbdferry/core/errors/ferry-error.js';

/** @throws INVALID_REQUEST when there is no `qemu-img` that runs */
export const requireQemuImg = async (): Promise<void> => {
  const end = await run(['--version']);
  if (end.status === 0) return;
  throw new FerryError(
    'INVALID_REQUEST',
    `qcow2 is made by the program qemu-img, which does not run here: ${end.why}`,
    {
      hint: 'install it (qemu-utils on Debian), or leave --format out for a raw file',
    },
  );
};

/**
 * Makes a qcow2 file of a sparse raw one. It is ended by the signal.
 *
 * @throws OUTPUT_FAILED, the signal's reason
 */
export const convertToQcow2 = async (raw: string, qcow2: string, signal: AbortSignal): Promise<void> => {
  const end = await run(['convert', '-f', 'raw', '-O', 'qcow2', '--', raw, qcow2], signal);
  throwIfAborted(signal);
  if (end.status === 0) return;
  throw new FerryError('OUTPUT_FAILED', `qemu-img could not make the qcow2 file: ${end.why}`, {
    hint: 'nothing is left of it; it takes room for a raw file of the data beside the qcow2 file',
  });
};

/** Of what it says on stderr. */
const mostSaid = 2000;

const run = (args: readonly string[], signal?: AbortSignal): Promise<{ status: number | null; why: string }> =>
  new Promise((resolve) => {
    const child = spawn('qemu-img', args, { stdio: ['ignore', 'ignore', 'pipe'] });
    const stop = () => child.kill('SIGTERM');
    signal?.addEventListener('abort', stop, { once: true });
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-mostSaid);
    });
    const end = (status: number | null, otherwise: string) => {
      signal?.removeEventListener('abort', stop);
      resolve({ status, why: said.trim() || otherwise });
    };
    child.on('error', (error) => {
      end(null, error.message);
    });
    child.on('close', (status, killedBy) => {
      end(status, killedBy === null ? `it ended with status ${String(status)}` : `it was ended by ${killedBy}`);
    });
  });
