import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** What is still there of a cluster: its directory, and command lines that name a file in it. */
export function leftOver(dir: string): string[] {
  const commands = readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map(commandLine)
    .filter((command) => command.includes(`${dir}/`));
  return existsSync(dir) ? [dir, ...commands] : commands;
}

/** Waits until nothing is left, or `timeoutMs` passed; answers what is left then. */
export async function settledLeftOver(dir: string, timeoutMs = 10_000): Promise<string[]> {
  const deadline = Date.now() + timeoutMs;
  while (leftOver(dir).length > 0 && Date.now() < deadline) await sleep(50);
  return leftOver(dir);
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return ''; // it ended while we looked
  }
}
