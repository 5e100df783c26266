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
import { formatImageSpec, parseImageSpec } from './image-spec.js';
import { parseDuration, parseSize } from './quantity.js';

const legalName = fc
  .stringMatching(/^[A-Za-z0-9_.:+=,%][A-Za-z0-9_.:+=,%-]{0,30}$/)
  .filter((name) => name !== '.' && name !== '..');

describe('image specs', () => {
  it('survive a round trip', () => {
    fc.assert(
      fc.property(legalName, fc.option(legalName, { nil: '' }), legalName, (pool, namespace, image) => {
        const spec = { pool, namespace, image };
        expect(parseImageSpec(formatImageSpec(spec))).toEqual({ ok: true, value: spec });
      }),
    );
  });

  it.each([
    'vm1',
    'rbd/',
    '/vm1',
    'rbd//vm1',
    'a/b/c/d',
    'rbd/-vm1',
    '-rbd/vm1',
    'rbd/vm1@snap',
    'rbd/vm\n1',
    'rbd/vm 1',
    'rbd/$(reboot)',
    'rbd/vm;ls',
    'rbd/vm`x`',
    "rbd/vm'",
    'rbd/вм1',
    'rbd/vm1\u0000',
    'rbd/..',
    `rbd/${'x'.repeat(201)}`,
    '',
  ])('%j is refused with its value in the words', (text) => {
    const result = parseImageSpec(text);
    expect(result.ok).toBe(false);
  });
});

describe('backup ids', () => {
  it('survive a round trip for every legal name', () => {
    fc.assert(
      fc.property(legalName, legalName, fc.bigInt(0n, 4_000_000_000_000_000n), (store, image, micros) => {
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
