import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { markActive, type Chain } from './chain.js';
import { byImage, imagesOf, ofImage } from './image-backups.js';
import { chainOfBackups } from './made-up-chain.js';

/** The commits of a chain with backups of several images, written as in `prod: 1 2, copy: 3`. */
const chainOf = (name: string, text: string, over: Partial<Chain> = {}): Chain =>
  chainOfBackups(
    name,
    text.split(', ').flatMap((part) => {
      const [image = '', times = ''] = part.split(': ');
      return times.split(' ').map((time) => ({ image: image === 'old' ? null : image, committedAtMs: Number(time) }));
    }),
    over,
  );
const timesOf = (chains: readonly Chain[]) => chains.map(({ backups }) => backups.map((each) => each.committedAtMs));
const spec = (image: string) => ({ pool: 'rbd', namespace: '', image });

/** A copy of prod was restored, and both went on; then the copy was given prod's name. */
const shared = chainOf('prod', 'prod: 1 2, copy: 3, prod: 4, copy: 5');
const renamed = chainOf('prod', 'prod: 1 2, copy: 3, prod: 4');

describe('backups by image', () => {
  it('go by the source of each backup, not by the chain', () => {
    const images = byImage([shared, chainOf('copy', 'copy: 6'), chainOf('prod', 'old: 7', { legacy: true })]);
    expect(images.map(({ source, chains }) => [source?.image.image ?? null, timesOf(chains)])).toEqual([
      ['prod', [[1, 2, 4]]],
      ['copy', [[3, 5], [6]]],
      [null, [[7]]],
    ]);
  });

  it('of one image are those of its name, in whatever chain', () => {
    expect(timesOf(ofImage([shared, chainOf('copy', 'copy: 6')], spec('copy')))).toEqual([[3, 5], [6]]);
    expect(timesOf(ofImage([renamed], spec('prod')))).toEqual([[1, 2, 4]]);
    expect(ofImage([shared, chainOf('prod', 'old: 7')], spec('nobody'))).toEqual([]);
    expect(imagesOf([shared, renamed])).toEqual([spec('prod'), spec('copy')]);
  });

  it('are each in exactly one group', () => {
    const anyChain = fc
      .array(fc.record({ image: fc.constantFrom('a', 'b', null), committedAtMs: fc.nat() }), { maxLength: 8 })
      .map((backups) => chainOfBackups('vm', backups));
    fc.assert(
      fc.property(fc.array(anyChain, { maxLength: 4 }), (chains) => {
        const grouped = byImage(chains).flatMap(({ chains }) => chains.flatMap(({ backups }) => backups));
        expect(new Set(grouped)).toEqual(new Set(chains.flatMap(({ backups }) => backups)));
        expect(grouped).toHaveLength(chains.reduce((sum, { backups }) => sum + backups.length, 0));
      }),
    );
  });
});

describe('active', () => {
  const activeOf = (...chains: Chain[]) => markActive(chains).map((chain) => chain.active);

  it('is a shared chain for any of its images', () => {
    expect(activeOf(shared, chainOf('prod2', 'prod: 6'))).toEqual([true, true]);
    expect(activeOf(shared, chainOf('prod2', 'prod: 6'), chainOf('copy', 'copy: 7'))).toEqual([false, true, true]);
  });

  it('goes by the commit, whatever the times in the names', () => {
    const ahead = chainOfBackups('vm', [{ image: 'vm', committedAtMs: 1, nameHours: 900_000 }]);
    expect(activeOf(ahead, chainOfBackups('vm2', [{ image: 'vm', committedAtMs: 2, nameHours: 1 }]))).toEqual([
      false,
      true,
    ]);
  });

  it('keeps chains of the older tool apart', () => {
    expect(activeOf(chainOf('vm', 'old: 9', { legacy: true }), chainOf('vm2', 'vm: 1'))).toEqual([true, true]);
  });
});
