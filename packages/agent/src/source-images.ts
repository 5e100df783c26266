import type { CephPort } from '@rbdferry/core/ceph/port.js';
import { FerryError, toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { Concern } from '@rbdferry/core/lifecycle/well-watch.js';
import type { Logger } from '@rbdferry/core/log/logger.js';
import { formatPoolSpec, parseImageSpec, type PoolSpec } from '@rbdferry/core/model/image-spec.js';
import type { AgentMetrics } from './agent-metrics.js';

/** A listing for each pool: not as often as what costs nothing. */
const lookEveryMs = 600_000;

export interface SourceConcernOptions {
  readonly ceph: CephPort;
  readonly metrics: Pick<AgentMetrics, 'images' | 'found'>;
  readonly log: Logger;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/**
 * The pools of the images that were backed up last are well when the agent may see them. Which they are only its jobs say: no
 * configuration names them. What it sees there tells which images need no age any more.
 */
export const sourceConcern = ({ ceph, metrics, log, now }: SourceConcernOptions): Concern => ({
  name: 'source pools',
  everyMs: lookEveryMs,
  isLong: true,
  check: async (signal) => {
    const askedAtMs = now();
    const { gone, there, refused } = await findImages(ceph, metrics.images, { signal });
    const { went, cameBack } = metrics.found({ gone, there }, askedAtMs);
    for (const image of went) log.info({ image }, 'an image is gone from the source: its age is no metric any more');
    for (const image of cameBack) log.info({ image }, 'an image is on the source again: its age is a metric again');
    const [first] = refused;
    if (first === undefined) return;
    throw new FerryError(first.code, refused.map(({ message }) => message).join('; '), { hint: first.hint });
  },
});

/** What a look at the pools of images found. */
export interface FoundImages {
  /** Images that are not there any more: their pool was listed without them, or is gone. */
  readonly gone: readonly string[];
  readonly there: readonly string[];
  /** Pools that the CephX user may not see. */
  readonly refused: readonly FerryError[];
}

/**
 * Looks whether images are still there: one listing for each pool or namespace, one after the other. Nothing is said of images in a
 * pool that could not be listed. @param images as POOL[/NAMESPACE]/IMAGE @throws what concerns the whole cluster
 */
export const findImages = async (
  ceph: CephPort,
  images: readonly string[],
  options: { readonly signal: AbortSignal },
): Promise<FoundImages> => {
  const gone: string[] = [];
  const there: string[] = [];
  const refused: FerryError[] = [];
  for (const { where, members } of byPool(images)) {
    try {
      const names = await namesIn(ceph, where, options);
      for (const { text, name } of members) (names.has(name) ? there : gone).push(text);
    } catch (thrown) {
      const error = toFerryError(thrown);
      if (error.code !== 'CEPH_PERMISSION') throw error;
      refused.push(error);
    }
  }
  return { gone, there, refused };
};

/** Of a pool or namespace that does not exist, none. */
const namesIn = async (
  ceph: CephPort,
  where: PoolSpec,
  options: { readonly signal: AbortSignal },
): Promise<ReadonlySet<string>> => {
  try {
    return new Set(await ceph.list(where, options));
  } catch (thrown) {
    const { code } = toFerryError(thrown);
    if (code === 'POOL_NOT_FOUND' || code === 'NAMESPACE_NOT_FOUND') return new Set();
    throw thrown;
  }
};

interface PoolImages {
  readonly where: PoolSpec;
  readonly members: { readonly text: string; readonly name: string }[];
}

const byPool = (images: readonly string[]): Iterable<PoolImages> => {
  const pools = new Map<string, PoolImages>();
  for (const text of new Set(images)) {
    const parsed = parseImageSpec(text);
    if (!parsed.ok) continue;
    const { image: name, ...where } = parsed.value;
    const key = formatPoolSpec(where);
    const pool = pools.get(key) ?? { where, members: [] };
    pool.members.push({ text, name });
    pools.set(key, pool);
  }
  return pools.values();
};
