import { open } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AdminSocket } from './admin-socket.js';
import type { Child } from './child.js';

/** Shuts a client out of its cluster, by its address. Never rejects, and takes a bounded time. */
export type Fence = (address: string) => Promise<void>;

const lookEveryMs = 100;
const headBytes = 64 * 1024;
/** A client sends something at least every 5 s: it pings what it watches. */
const answersWithinMs = 6_000;
/** ` -- 192.168.1.7:0/784758461 --> v2:192.168.1.9:6802/31 -- osd_op(...`: what its log says of a message, either way. */
const message = / -- (\S+:0\/\d+) (?:-->|<==) /;

/**
 * What the cluster knows a running Ceph program by; null when it does not say in time. Neither a command nor a counter tells a client's
 * address, but the log of its messages does. It is turned on for that, by a program that is about to be ended.
 */
export const clientAddress = async (socket: AdminSocket, longestMs = answersWithinMs): Promise<string | null> => {
  if (socket.dir === null) return null;
  const log = path.join(socket.dir, 'log');
  const over = AbortSignal.timeout(longestMs);
  const found = async (): Promise<string | null> => {
    // Nothing is said by a program that has no socket, or is gone.
    if ((await socket.ask(set('log_file', log))) === '') return null;
    await socket.ask(set('debug_ms', '1'));
    while (!over.aborted) {
      const address = message.exec(await headOf(log))?.[1];
      if (address !== undefined) return address;
      await sleep(lookEveryMs);
    }
    return null;
  };
  return Promise.race([found(), sleep(longestMs, null, { ref: false })]);
};

/** A program that is busy writes megabytes there. */
const headOf = async (file: string): Promise<string> => {
  const log = await open(file).catch(() => null);
  if (log === null) return '';
  try {
    const { buffer, bytesRead } = await log.read(Buffer.alloc(headBytes), 0, headBytes, 0);
    return buffer.toString('latin1', 0, bytesRead);
  } finally {
    await log.close();
  }
};

const set = (option: string, value: string) => ({ prefix: 'config set', var: option, val: [value] });

/**
 * Ends a child that may have an image open for writing. A client that is killed leaves its lock on the image, for which the next one
 * waits 30 s (16.2.15), and what it had sent may still be carried out; one that is shut out leaves neither.
 *
 * @param address the child's, see {@link clientAddress}
 */
export const endFenced = async (child: Child, address: Promise<string | null>, fence: Fence): Promise<void> => {
  const dead = await address;
  child.terminate();
  const { exitCode } = await child.ended;
  if (dead !== null && exitCode === undefined) await fence(dead);
};
