import { blockBytes, type Content } from './content.js';
import type { FakeImage } from './fake-image.js';

/** Bytes of the image. */
export interface Extent {
  readonly kind: 'data' | 'zero';
  readonly offset: number;
  readonly length: number;
}

/** An image's head or one of its snapshots. */
interface State {
  readonly sizeBytes: bigint;
  readonly content: Content;
}

const nothing: Pick<Content, 'indexes' | 'block'> = { indexes: [], block: () => undefined };

/**
 * What was written or discarded between two states of an image, in order; none goes over the border of an object, or beyond the
 * later size. Without an earlier state, all that is there.
 */
export const diffExtents = ({ layout }: FakeImage, from: State | null, to: State): Extent[] => {
  const earlier = from?.content ?? nothing;
  const changed = [...new Set([...earlier.indexes, ...to.content.indexes])]
    .filter((index) => earlier.block(index) !== to.content.block(index))
    .filter((index) => index * blockBytes < to.sizeBytes)
    .toSorted((a, b) => a - b);
  const extents: Extent[] = [];
  for (const index of changed) {
    const next = extentOf(index, to);
    const last = extents.at(-1);
    const inSameObject = next.offset % layout.objectSizeBytes !== 0;
    if (last?.kind === next.kind && last.offset + last.length === next.offset && inSameObject)
      extents[extents.length - 1] = { ...last, length: last.length + next.length };
    else extents.push(next);
  }
  return extents;
};

const extentOf = (index: number, { sizeBytes, content }: State): Extent => {
  const offset = index * blockBytes;
  const kind = content.block(index) === undefined ? 'zero' : 'data';
  return { kind, offset, length: Math.min(blockBytes, Number(sizeBytes) - offset) };
};
