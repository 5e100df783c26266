import { collectDefaultMetrics, Gauge, Registry } from 'prom-client';

/** A daemon's own registry; nothing is shared with another one in the same process. */
export const createRegistry = (prefix: string, version: string): Registry => {
  const registry = new Registry();
  const info = new Gauge({
    name: `${prefix}build_info`,
    help: 'Always 1; the release is in the label.',
    labelNames: ['version'],
    registers: [registry],
  });
  info.set({ version }, 1);
  return registry;
};

/** Adds what Node tells of the process: process_* and nodejs_*. Costs a timer, so only where somebody looks. */
export const addProcessMetrics = (registry: Registry): void => {
  collectDefaultMetrics({ register: registry });
};
