import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { execa } from 'execa';
import type { Sample } from '../measure/turns.js';
import { compile } from './native.js';

/** A program of ours that listens on a port of 127.0.0.1 and ends with this process. */
export interface Listener {
  readonly pid: number;
  readonly port: number;
  stop(): Promise<void>;
}

/** Starts a program whose first line of output is the port it listens on. */
export const startListener = async (
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Listener> => {
  const child = execa('setpriv', ['--pdeathsig', 'KILL', program, ...args], {
    env,
    stdin: 'ignore',
    stderr: 'inherit',
    buffer: false,
    reject: false,
  });
  const lines = createInterface({ input: child.stdout });
  const first = await Promise.race([once(lines, 'line'), child.then(() => [])]);
  const port = Number(first[0]);
  if (!Number.isInteger(port)) throw new Error(`${program} ${args.join(' ')} ended before it listened`);
  return {
    pid: child.pid ?? 0,
    port,
    async stop() {
      child.kill('SIGTERM');
      await child;
    },
  };
};

/** A relay to `targetPort` with this round trip. */
export const startRelay = async (dir: string, targetPort: number, roundTripMs: number): Promise<Listener> =>
  startListener(await compile('delay-relay', dir), ['relay', `${targetPort}`, `${roundTripMs * 500}`]);

export const startSink = async (dir: string): Promise<Listener> =>
  startListener(await compile('delay-relay', dir), ['sink']);

/** Plain TCP to a sink, as fast as it goes. */
export const blast = async (dir: string, port: number, bytes: number): Promise<Sample> => {
  const program = await compile('delay-relay', dir);
  const begin = performance.now();
  await execa(program, ['blast', `${port}`, `${bytes}`], { stdin: 'ignore', timeout: 300_000 });
  return { seconds: (performance.now() - begin) / 1000, bytes };
};
