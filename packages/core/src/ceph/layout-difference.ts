import { isCreatable } from './argv.js';
import type { ImageInfo, ImageLayout } from './port.js';

/**
 * Says in what an image differs from the layout that it was made with, or null when it does not. The size is left out, as it follows
 * what is imported, and so are features that follow from something else.
 */
export const layoutDifference = (info: ImageInfo, layout: ImageLayout): string | null => {
  const differences = parts.flatMap(([what, of]) => {
    const [is, asked] = [of(info), of(layout)];
    return is === asked ? [] : [`${what} ${is} in place of ${asked}`];
  });
  return differences.length === 0 ? null : differences.join(', ');
};

/** Ceph turns it on wherever there is an object map. */
const impliedFeature = 'fast-diff';

const parts: readonly (readonly [string, (layout: Omit<ImageLayout, 'sizeBytes'>) => string])[] = [
  ['an object size of', ({ objectSizeBytes }) => `${objectSizeBytes} bytes`],
  ['stripes of', ({ stripeUnitBytes, stripeCount }) => `${stripeCount} times ${stripeUnitBytes} bytes`],
  ['data in', ({ dataPool }) => (dataPool === null ? 'its own pool' : `pool ${JSON.stringify(dataPool)}`)],
  [
    'features',
    ({ features }) =>
      features
        .filter((each) => isCreatable(each) && each !== impliedFeature)
        .toSorted()
        .join(',') || 'none',
  ],
];
