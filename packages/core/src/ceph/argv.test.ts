import { describe, expect, it } from 'vitest';
import { destArgs, expiryArg, imageArgs, layoutArgs, rangeArgs } from './argv.js';
import type { ImageLayout } from './port.js';

const plain = { pool: 'rbd', namespace: '', image: 'vm1' };
const inNamespace = { pool: 'rbd', namespace: 'ns', image: '-x=y' };

it('binds names to their options', () => {
  expect(imageArgs(plain)).toEqual(['--pool=rbd', '--image=vm1']);
  expect(imageArgs(inNamespace)).toEqual(['--pool=rbd', '--namespace=ns', '--image=-x=y']);
  expect(destArgs(inNamespace)).toEqual(['--dest-pool=rbd', '--dest-namespace=ns', '--dest=-x=y']);
});

it('names a from-snapshot only for an increment', () => {
  expect(rangeArgs(plain, { snap: 's2', fromSnap: null })).toEqual(['--pool=rbd', '--image=vm1', '--snap=s2']);
  expect(rangeArgs(plain, { snap: 's2', fromSnap: 's1' })).toContain('--from-snap=s1');
});

describe('the layout of a new image', () => {
  const layout: ImageLayout = {
    sizeBytes: 1000n,
    objectSizeBytes: 65_536,
    stripeUnitBytes: 65_536,
    stripeCount: 1,
    features: ['deep-flatten', 'layering'],
    dataPool: null,
  };

  it('is exact to the byte', () => {
    expect(layoutArgs(layout)).toEqual([
      '--size=1000B',
      '--object-size=65536B',
      '--image-feature=deep-flatten,layering',
    ]);
  });

  it('leaves out the features that cannot be asked for', () => {
    const features = ['data-pool', 'exclusive-lock', 'migrating', 'non-primary', 'operations', 'striping', 'new-one'];
    expect(layoutArgs({ ...layout, features })).toContain('--image-feature=exclusive-lock');
    expect(layoutArgs({ ...layout, features: ['operations'] })).toContain('--image-feature=layering');
  });

  it('has stripes and a data pool only where the image has them', () => {
    expect(layoutArgs({ ...layout, stripeUnitBytes: 4096, stripeCount: 4, dataPool: 'ec' })).toEqual([
      '--size=1000B',
      '--object-size=65536B',
      '--stripe-unit=4096B',
      '--stripe-count=4',
      '--image-feature=deep-flatten,layering',
      '--data-pool=ec',
    ]);
  });
});

it('gives an expiry in whole seconds of UTC, never earlier than asked', () => {
  expect(expiryArg(new Date('2027-01-01T10:11:12.000Z'))).toBe('--expires-at=2027-01-01T10:11:12Z');
  expect(expiryArg(new Date('2027-01-01T10:11:12.001Z'))).toBe('--expires-at=2027-01-01T10:11:13Z');
});
