import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  chainNameOf,
  formatBackupId,
  formatTimestamp,
  parseBackupId,
  snapNameOf,
  splitChainName,
  timestampToMs,
} from './backup-id.js';
import { formatImageSpec, parseImageSpec, plainNameProblem } from './image-spec.js';
import { parseDuration, parseSize } from './quantity.js';

const plainName = fc
  .stringMatching(/^[A-Za-z0-9_.:+=,%][A-Za-z0-9_.:+=,%-]{0,30}$/)
  .filter((name) => name !== '.' && name !== '..');

/** What `rbd create` takes and people can read (16.2.15). */
const rbdName = fc
  .oneof(
    fc.string({ unit: 'grapheme', minLength: 1, maxLength: 30 }),
    fc.constantFrom(
      'vm (1) "ä" #2',
      '-x',
      '--',
      '..',
      ' ',
      "it's",
      '$(reboot)',
      'a\\b',
      'вм1',
      '🚢',
      'x.2015-07-07.10:40:39.458883.bkp.image',
    ),
    plainName,
  )
  .filter((name) => !/[/@\p{Cc}\p{Zl}\p{Zp}\p{Cs}]/u.test(name));

describe('image specs', () => {
  it('survive a round trip', () => {
    fc.assert(
      fc.property(rbdName, fc.option(rbdName, { nil: '' }), rbdName, (pool, namespace, image) => {
        const spec = { pool, namespace, image };
        expect(parseImageSpec(formatImageSpec(spec))).toEqual({ ok: true, value: spec });
      }),
    );
  });

  it.each([
    ['vm1', 'expected POOL/IMAGE'],
    ['rbd/', 'the image name is empty'],
    ['/vm1', 'the pool name is empty'],
    ['rbd//vm1', 'the namespace name is empty'],
    ['a/b/c/d', 'expected POOL/IMAGE'],
    ['rbd/vm1@snap', 'holds "@", which means something else'],
    ['rbd/vm\n1', String.raw`holds "\n", which cannot be printed`],
    ['rbd/vm1\u0000', String.raw`holds "\u0000", which cannot be printed`],
    ['rbd/vm\u2028', 'which cannot be printed'],
    ['rbd/vm\ud800', 'which cannot be printed'],
    [`rbd/${'ä'.repeat(951)}`, 'longer than 1900 bytes'],
    ['', 'expected POOL/IMAGE'],
  ])('%j is refused, with the reason', (text, reason) => {
    expect(parseImageSpec(text)).toMatchObject({ ok: false, problem: expect.stringContaining(reason) });
  });

  it.each(['', '-x', 'a b', 'ä', 'a/b', 'a@b', '..', 'x'.repeat(201)])('%j is no name for a store', (name) => {
    expect(plainNameProblem('store', name)).toContain('the store name');
  });
});

describe('backup ids', () => {
  it('survive a round trip for every legal name', () => {
    fc.assert(
      fc.property(plainName, rbdName, fc.bigInt(0n, 4_000_000_000_000_000n), (store, image, micros) => {
        const at = formatTimestamp(micros);
        const parts = { store, chain: chainNameOf(image, at), snap: snapNameOf(at) };
        expect(parseBackupId(formatBackupId(parts))).toEqual({ ok: true, value: parts });
        expect(splitChainName(parts.chain)?.image).toBe(image);
        expect(timestampToMs(at)).toBe(Number(micros / 1000n));
      }),
    );
  });

  it('are those of the older tool', () => {
    const id = 'rbd2/tmpimage.2015-07-07.10:40:39.458883.bkp.image@2015-07-07.10:40:43.707889.snap';
    expect(parseBackupId(id)).toMatchObject({ ok: true, value: { store: 'rbd2' } });
  });

  it.each([
    '',
    'rbd2',
    'rbd2/vm1',
    'rbd2/vm1@x',
    'vm1.2015-07-07.10:40:39.458883.bkp.image@2015-07-07.10:40:43.707889.snap',
    'a/b.2015-07-07.10:40:39.458883.bkp.image@2015-07-07.snap',
  ])('%j is refused', (text) => {
    expect(parseBackupId(text).ok).toBe(false);
  });
});

describe('quantities', () => {
  it.each([
    ['64MiB', 67_108_864],
    ['64M', 67_108_864],
    ['1.5GiB', 1_610_612_736],
    ['2GB', 2_000_000_000],
    ['100', 100],
  ])('%s is %i bytes', (text, bytes) => {
    expect(parseSize(text)).toEqual({ ok: true, value: bytes });
  });

  it.each(['', 'x', '-1', '64 miles', '1e9', '9999999999TiB'])('%j is no size', (text) => {
    expect(parseSize(text).ok).toBe(false);
  });

  it('a duration needs a unit', () => {
    expect(parseDuration('90s')).toEqual({ ok: true, value: 90_000 });
    expect(parseDuration('90').ok).toBe(false);
  });
});
