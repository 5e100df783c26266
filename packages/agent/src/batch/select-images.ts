import type { CephPort } from '@rbdferry/core/ceph/port.js';
import { FerryError, throwIfAborted, toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import { orThrow } from '@rbdferry/core/errors/parsed.js';
import { atOnce } from '@rbdferry/core/lifecycle/at-once.js';
import {
  formatImageSpec,
  formatPoolSpec,
  parseImageSpec,
  parsePoolSpec,
  type ImageSpec,
  type PoolSpec,
} from '@rbdferry/core/model/image-spec.js';
import { lookAtSource, refuseUnsupported, type SourceImage } from '../backup/look-at-source.js';
import { selectKey } from '../lineage.js';
import { Globs, isSomebodys, type ImageSelection, type Say } from './selection.js';

/** A selected image, as it is, or why it could not be looked at. */
export interface Selected {
  readonly spec: ImageSpec;
  readonly look:
    { readonly kind: 'seen'; readonly source: SourceImage } | { readonly kind: 'failed'; readonly error: FerryError };
}

export interface SelectedImages {
  readonly images: readonly Selected[];
  /** The pools that were looked through, with the names of their images. */
  readonly pools: readonly { readonly pool: PoolSpec; readonly names: ReadonlySet<string> }[];
  readonly globs: Globs;
}

interface Deps {
  readonly ceph: CephPort;
  /** The pools of the configuration. */
  readonly pools: readonly PoolSpec[];
  readonly signal: AbortSignal;
  readonly warn: (message: string) => void;
}

/** Images looked at the same time. */
export const looksAtOnce = 16;

/**
 * Finds the images of a selection and looks at each of them once, named ones first, then the pools' by name. What an image cannot be looked at
 * for is its own matter. @throws NOTHING_SELECTED, INVALID_REQUEST, POOL_NOT_FOUND, NAMESPACE_NOT_FOUND, CEPH_*
 */
export const selectImages = async (selection: ImageSelection, deps: Deps): Promise<SelectedImages> => {
  const globs = new Globs(selection);
  const named = selection.images.map((text) => orThrow(parseImageSpec(text), 'INVALID_IMAGE_SPEC'));
  const isNamed = new Set(named.map(formatImageSpec));
  const pools = await Promise.all(poolsOf(selection, deps.pools).map((pool) => namesIn(pool, deps)));
  const inPools = pools.flatMap(({ pool, names }) => [...names].toSorted().map((image) => ({ ...pool, image })));
  const others = inPools.filter((spec) => !isNamed.has(formatImageSpec(spec)));
  const looked = await lookAll([...uniqueImages(named), ...uniqueImages(others)], deps);
  const images = looked.filter(
    (selected) =>
      isNamed.has(formatImageSpec(selected.spec)) || globs.selects(selected.spec, sayOf(selected, deps.warn)),
  );
  if (images.length === 0) {
    throw new FerryError('NOTHING_SELECTED', nothing(selection, inPools.length), {
      hint: 'see `rbd ls` for the names, and `rbd image-meta get IMAGE rbdferry.select` for what an image says itself',
    });
  }
  for (const glob of globs.idle) deps.warn(`the glob ${JSON.stringify(glob)} matches no image`);
  return { images, pools, globs };
};

const nothing = (selection: ImageSelection, found: number): string =>
  found === 0
    ? 'there is no image in what was selected'
    : `none of ${found} images is selected by ${[...selection.match, ...selection.exclude.map((glob) => `not ${glob}`)].join(', ') || 'its own image-meta'}`;

const poolsOf = ({ pools, allPools }: ImageSelection, configured: readonly PoolSpec[]): PoolSpec[] => {
  if (allPools && configured.length === 0) {
    throw new FerryError('INVALID_REQUEST', 'the configuration of the agent names no pools', {
      hint: 'name them under `pools` in its configuration, or with --pool',
    });
  }
  const named = pools.map((text) => orThrow(parsePoolSpec(text), 'INVALID_IMAGE_SPEC'));
  const all = [...named, ...(allPools ? configured : [])];
  return [...new Map(all.map((pool) => [formatPoolSpec(pool), pool])).values()];
};

const namesIn = async (pool: PoolSpec, { ceph, signal }: Deps) => {
  const names = await ceph.list(pool, { signal });
  return { pool, names: new Set(names.filter(isSomebodys)) };
};

const uniqueImages = (specs: readonly ImageSpec[]): ImageSpec[] => [
  ...new Map(specs.map((spec) => [formatImageSpec(spec), spec])).values(),
];

const lookAll = async (specs: readonly ImageSpec[], { ceph, signal }: Deps): Promise<Selected[]> => {
  const looked: Selected[] = [];
  await atOnce(specs, looksAtOnce, async (spec, index) => {
    try {
      const source = await lookAtSource(ceph, spec, { signal });
      await refuseUnsupported(ceph, source, { signal });
      looked[index] = { spec, look: { kind: 'seen', source } };
    } catch (thrown) {
      throwIfAborted(signal);
      looked[index] = { spec, look: { kind: 'failed', error: toFerryError(thrown) } };
    }
  });
  return looked;
};

const sayOf = ({ spec, look }: Selected, warn: (message: string) => void): Say => {
  const said = look.kind === 'seen' ? look.source.select : null;
  if (said === null || said === 'on' || said === 'off') return said;
  warn(
    `the image-meta ${selectKey} of ${formatImageSpec(spec)} is ${JSON.stringify(said.slice(0, 50))}, not on or off: it counts for nothing`,
  );
  return null;
};
