import { readFile } from 'node:fs/promises';
import { loadavg } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';

/** What the machine does while we do nothing. */
export interface MachineLoad {
  /** Share of all processors that was busy in half a second, 0 to 1. */
  readonly busyShare: number;
  readonly loadAverage: number;
}

const lookMs = 500;

export const machineLoad = async (): Promise<MachineLoad> => {
  const before = await processorTicks();
  await sleep(lookMs);
  const after = await processorTicks();
  const all = after.all - before.all;
  return { busyShare: all === 0 ? 0 : 1 - (after.idle - before.idle) / all, loadAverage: loadavg()[0] ?? 0 };
};

/** Ticks since the machine started: user nice system idle iowait irq softirq steal. */
const processorTicks = async (): Promise<{ all: number; idle: number }> => {
  const [first = ''] = (await readFile('/proc/stat', 'utf8')).split('\n');
  const ticks = first.trim().split(/\s+/).slice(1, 9).map(Number);
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
  return { all: sum(ticks), idle: sum(ticks.slice(3, 5)) };
};
