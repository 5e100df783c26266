import { chainOfBackups } from '@rbdferry/core/model/made-up-chain.js';
import { describe, expect, it } from 'vitest';
import { newestOfEach } from './known-backups.js';

describe('the newest backup of each image', () => {
  it('is its own, also in a chain that it shares, and the last of its chain though the clock was ahead before', () => {
    const shared = chainOfBackups('prod', [
      { image: 'prod', committedAtMs: 900 },
      { image: 'copy', committedAtMs: 20 },
      { image: 'prod', committedAtMs: 30 },
      { image: 'copy', committedAtMs: 40 },
    ]);
    const other = chainOfBackups('copy', [{ image: 'copy', committedAtMs: 35 }]);
    const newest = newestOfEach([shared, other]);
    expect(newest.map(({ source, committedAtMs }) => [source?.identity.image.image, committedAtMs])).toEqual([
      ['copy', 40],
      ['prod', 30],
    ]);
  });
});
