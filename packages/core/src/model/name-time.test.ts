import { describe, expect, it } from 'vitest';
import { chainNameOf, formatBackupId, formatTimestamp, snapNameOf } from './backup-id.js';
import { oddNameTimes } from './name-time.js';

const snapAt = (ms: number) => snapNameOf(formatTimestamp(BigInt(ms) * 1000n));
const chain = chainNameOf('vm', formatTimestamp(0n));
const at = (ms: number, baseMs?: number) => ({
  snap: snapAt(ms),
  baseId: baseMs === undefined ? null : formatBackupId({ store: 's', chain, snap: snapAt(baseMs) }),
});

describe('the time in a name', () => {
  it.each([
    ['is right', at(1_000_000), []],
    ['is after that of the base', at(1_000_000, 999_999), []],
    ['is a little ahead', at(1_060_000), []],
    ['lies in the future', at(2_000_000), ["lies 1000 s in the future of the receiver's clock"]],
    ['is before that of the base', at(1_000_000, 1_000_001), [`is not after that of its base ${snapAt(1_000_001)}`]],
  ])('%s', (_, backup, odd) => {
    expect(oddNameTimes(backup, 1_000_000)).toEqual(odd);
  });
});
