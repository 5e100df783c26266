import { describe, expect, test } from 'vitest';
import {
  encodeBanner,
  encodeDataHeader,
  encodeEnd,
  encodeFromSnap,
  encodeHeader,
  encodeSize,
  encodeToSnap,
  encodeZero,
} from './diff-writer.js';

const hex = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');

describe('records are encoded byte for byte as Ceph does', () => {
  test.each([
    ['banner', encodeBanner(), '72626420646966662076310a'],
    ['from-snap', encodeFromSnap('ab'), '66020000006162'],
    ['to-snap', encodeToSnap('ä'), '7402000000c3a4'],
    ['size', encodeSize(0x0102_0304n), '730403020100000000'],
    ['data', encodeDataHeader(4500n, 10n), '7794110000000000000a00000000000000'],
    ['zero', encodeZero(0n, 2n ** 40n), '7a00000000000000000000000000010000'],
    ['end', encodeEnd(), '65'],
  ])('%s', (_, bytes, expected) => {
    expect(hex(bytes)).toBe(expected);
  });

  test('a whole header, with absent names left out', () => {
    const header = encodeHeader({ fromSnap: null, toSnap: 'b', sizeBytes: 1n });
    expect(hex(header)).toBe(hex(encodeBanner()) + hex(encodeToSnap('b')) + hex(encodeSize(1n)));
  });
});

describe('refuses', () => {
  test.each([-1n, 2n ** 64n])('%s as a size, offset or length', (value) => {
    expect(() => encodeSize(value)).toThrow(RangeError);
    expect(() => encodeZero(0n, value)).toThrow(RangeError);
    expect(() => encodeDataHeader(value, 0n)).toThrow(RangeError);
  });

  test('an empty name', () => {
    expect(() => encodeToSnap('')).toThrow(RangeError);
  });
});
