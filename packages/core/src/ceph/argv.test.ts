import { describe, expect, it } from 'vitest';
import { destArgs, expiryArg, imageArgs, layoutArgs, rangeArgs } from './argv.js';
import { layoutDifference } from './layout-difference.js';
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

  it('is exact to the byte, and leaves nothing to a default', () => {
    expect(layoutArgs(plain, layout)).toEqual([
      '--image-format=2',
      '--size=1000B',
      '--object-size=65536B',
      '--stripe-unit=65536B',
      '--stripe-count=1',
      '--image-feature=deep-flatten,layering',
      '--data-pool=rbd',
    ]);
  });

  it('leaves out the features that cannot be asked for', () => {
    const features = ['data-pool', 'exclusive-lock', 'migrating', 'non-primary', 'operations', 'striping', 'new-one'];
    expect(layoutArgs(plain, { ...layout, features })).toContain('--image-feature=exclusive-lock');
    const none = layoutArgs(plain, { ...layout, features: ['operations'] });
    expect(none).toContain('--rbd-default-features=0');
    expect(none.join(' ')).not.toContain('--image-feature');
  });

  it('has the stripes and the data pool of the image', () => {
    const striped = layoutArgs(plain, { ...layout, stripeUnitBytes: 4096, stripeCount: 4, dataPool: 'ec' });
    expect(striped).toEqual(expect.arrayContaining(['--stripe-unit=4096B', '--stripe-count=4', '--data-pool=ec']));
  });

  it('is compared with what was made', () => {
    const info = {
      ...layout,
      id: '1a',
      name: 'vm1',
      parent: null,
      hasClones: false,
      format: 2 as const,
      group: null,
      mirroring: null,
      features: ['data-pool', 'deep-flatten', 'layering'],
    };
    expect(layoutDifference(info, layout)).toBeNull();
    expect(layoutDifference({ ...info, features: [...info.features, 'fast-diff'] }, layout)).toBeNull();
    const other = { ...info, features: [], stripeCount: 2, objectSizeBytes: 4096, dataPool: 'ec' };
    expect(layoutDifference(other, layout)).toBe(
      'an object size of 4096 bytes in place of 65536 bytes, stripes of 2 times 65536 bytes in place of 1 times 65536 bytes, ' +
        'data in pool "ec" in place of its own pool, features none in place of deep-flatten,layering',
    );
  });
});

it('gives an expiry in whole seconds of UTC, never earlier than asked', () => {
  expect(expiryArg(new Date('2027-01-01T10:11:12.000Z'))).toBe('--expires-at=2027-01-01T10:11:12Z');
  expect(expiryArg(new Date('2027-01-01T10:11:12.001Z'))).toBe('--expires-at=2027-01-01T10:11:13Z');
});
