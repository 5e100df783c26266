import type { Case } from './case.js';
import { distanceCase } from './distance.js';
import { latencyCase } from './latency.js';
import { memoryCase } from './memory.js';
import { nightCase } from './night.js';
import { restoreCase } from './restore.js';
import { smallImagesCase } from './small-images.js';
import { storeCase } from './store.js';
import { transferCase } from './transfer.js';
import { transportCase } from './transport.js';

const cases = {
  transfer: transferCase,
  latency: latencyCase,
  night: nightCase,
  transport: transportCase,
  distance: distanceCase,
  small: smallImagesCase,
  restore: restoreCase,
  memory: memoryCase,
  store: storeCase,
} as const satisfies Record<string, Case>;

export type CaseName = keyof typeof cases;

export const caseNames = Object.keys(cases) as CaseName[];

export const isCaseName = (name: string): name is CaseName => Object.hasOwn(cases, name);

export const caseOf = (name: CaseName): Case => cases[name];
