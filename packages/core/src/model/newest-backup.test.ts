import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Backup, Chain } from './chain.js';
import { chainOfBackups, type MadeUpBackup } from './made-up-chain.js';
import { newestNotAfter, restorable, snapshotTimes, type Wished } from './newest-backup.js';

const hourMs = 3_600_000;
const nowMs = 1_000 * hourMs;
const spec = { pool: 'rbd', namespace: '', image: 'vm' };

/** Backups by the hour in the name, and, behind a slash, that of the commit where it is not half a minute later: `1 2/2.5 30/3`. */
const chainOf = (text: string, over: Partial<Chain> = {}, image: string | null = 'vm'): Chain =>
  chainOfBackups(
    'vm',
    text.split(' ').map((each): MadeUpBackup => {
      const [name = '', commit] = each.split('/');
      const committedAtMs = commit === undefined ? Number(name) * hourMs + 30_000 : Number(commit) * hourMs;
      return { image, committedAtMs, nameHours: Number(name) };
    }),
    over,
  );
const hours = (chain: Chain): number[] => snapshotTimes(chain, nowMs).map((ms) => ms / hourMs);
const ofCluster = (fsid: string, chain: Chain): Chain => ({
  ...chain,
  backups: chain.backups.map((backup) => ({
    ...backup,
    source: backup.source && { ...backup.source, identity: { ...backup.source.identity, fsid } },
  })),
});
const choose = (chains: readonly Chain[], atHours: number | null, over: Partial<Wished> = {}) =>
  newestNotAfter(chains, { atMs: atHours === null ? null : atHours * hourMs, nowMs, fsid: null, ...over });
const nameOf = (backup: Backup): number =>
  Date.parse(`${backup.snap.slice(0, 10)}T${backup.snap.slice(11, 19)}Z`) / hourMs;
const chosen = (...[chains, at, over]: Parameters<typeof choose>): unknown => {
  const choice = choose(chains, at, over);
  return choice.kind === 'chosen' ? nameOf(choice.backup) : choice.kind;
};

describe('the time of a snapshot', () => {
  it.each([
    ['is that of the name', '1 2/3 4', [1, 2, 4]],
    ['is the commit when the name is from later: that clock was ahead', '1 500/3 4', [1, 3, 4]],
    [
      'is the commit before when the name is from earlier: that clock was behind',
      '10 2/11 12',
      [10, 10 + 30 / 3600, 12],
    ],
    ['is that of the name when the receiver went backwards', '10 11/1 12', [10, 11, 12]],
    ['is that of the name when the commit is from the future', '10 11/2000 12', [10, 11, 12]],
  ])('%s', (_, text, expected) => {
    expect(hours(chainOf(text))).toEqual(expected);
  });

  it('is that of the name where the clocks differ by seconds', () => {
    const ahead = { image: 'vm', committedAtMs: 5 * hourMs - 50_000, nameHours: 5 };
    expect(snapshotTimes(chainOfBackups('vm', [ahead]), nowMs)).toEqual([5 * hourMs]);
  });

  it('never goes backwards in a chain', () => {
    const backup = fc.record({
      image: fc.constant('vm'),
      committedAtMs: fc.integer({ min: 0, max: 2 * nowMs }),
      nameHours: fc.nat(2_000),
    });
    fc.assert(
      fc.property(fc.array(backup, { maxLength: 8 }), (backups) => {
        const times = snapshotTimes(chainOfBackups('vm', backups), nowMs);
        expect(times).toEqual(times.toSorted((a, b) => a - b));
      }),
    );
  });
});

describe('the newest backup not after a time', () => {
  const chains = [chainOf('1 2 3'), chainOf('10 11')];

  it.each([
    [null, 11],
    [11, 11],
    [10.9, 10],
    [9, 3],
    [2, 2],
    [1, 1],
    [0.9, 'too-early'],
  ])('%s', (at, expected) => {
    expect(chosen(chains, at)).toBe(expected);
  });

  it('names the oldest when all are from after it', () => {
    const choice = choose([chainOf('10 11'), chainOf('1 2')], 0);
    expect(choice.kind === 'too-early' && nameOf(choice.oldest)).toBe(1);
  });

  it('is none where there is none', () => {
    expect(choose([], null)).toEqual({ kind: 'none' });
    expect(choose([{ ...chainOf('1'), backups: [] }], 5)).toEqual({ kind: 'none' });
  });

  it('goes by the snapshot, not by the commit: a slow transfer holds the older state', () => {
    expect(chosen([chainOf('12'), chainOf('11/13')], 14)).toBe(12);
  });

  it('is not one from after the time whose clock was behind', () => {
    expect(chosen([chainOf('10 2/20')], 9)).toBe('too-early');
    expect(chosen([chainOf('10 2/20')], 10)).toBe(10);
  });

  it('without a time is the newest of the store, whatever the clocks said', () => {
    expect(chosen([chainOf('10 11'), chainOf('1/12')], null)).toBe(1);
  });

  it('is never from after it, and none is between', () => {
    const backup = fc.record({
      image: fc.constant('vm'),
      committedAtMs: fc.integer({ min: 0, max: nowMs }),
      nameHours: fc.nat(1_000),
    });
    const anyChain = fc.array(backup, { minLength: 1, maxLength: 6 }).map((backups) => chainOfBackups('vm', backups));
    fc.assert(
      fc.property(fc.array(anyChain, { maxLength: 4 }), fc.nat(1_000), (some, at) => {
        const times = some.flatMap((chain) => {
          const made = snapshotTimes(chain, nowMs);
          return chain.backups.map((each, index) => [each, made[index] ?? 0] as const);
        });
        const best = Math.max(...times.map(([, ms]) => ms).filter((ms) => ms <= at * hourMs));
        const choice = choose(some, at);
        const found = choice.kind === 'chosen' ? new Map(times).get(choice.backup) : Number.NEGATIVE_INFINITY;
        expect(found).toBe(best);
      }),
    );
  });
});

describe('backups of several clusters', () => {
  const before = ofCluster('old', chainOf('1 2'));
  const after = ofCluster('new', chainOf('10 11'));

  it('come after those of the own one', () => {
    expect(chosen([ofCluster('other', chainOf('20')), after], null, { fsid: 'new' })).toBe(11);
  });

  it('count where the own one has none that old: the image had a life before a disaster', () => {
    expect(chosen([before, after], 5, { fsid: 'new' })).toBe(2);
    expect(chosen([before], null, { fsid: 'new' })).toBe(2);
  });

  it('are told apart by nobody when the own one is not known', () => {
    const choice = choose([before, after], null);
    expect(choice.kind === 'several' && choice.newest.map(nameOf)).toEqual([11, 2]);
    expect(chosen([before, after], 5)).toBe(2);
    expect(chosen([before, ofCluster('third', chainOf('3'))], 5, { fsid: 'new' })).toBe('several');
  });
});

describe('what may be restored under a name', () => {
  it('are its own backups, whatever chain they are in, and those of the older tool', () => {
    const shared = chainOfBackups('prod', [
      { image: 'prod', committedAtMs: 1 },
      { image: 'vm', committedAtMs: 2 },
    ]);
    const old = chainOf('5', { legacy: true }, null);
    const found = restorable([shared, chainOf('7', {}, 'other'), old], spec);
    expect(found.map(({ backups }) => backups.map(({ committedAtMs }) => committedAtMs))).toEqual([
      [2],
      [5 * hourMs + 30_000],
    ]);
    expect(restorable([old], { ...spec, pool: 'ssd' })).toHaveLength(1);
    expect(restorable([shared, old], { ...spec, image: 'prod', pool: 'ssd' })).toEqual([]);
  });

  it('and the older tool is as good as the own cluster', () => {
    const chains = [chainOf('5', { legacy: true }, null), ofCluster('new', chainOf('10'))];
    expect(chosen(chains, 7, { fsid: 'new' })).toBe(5);
    expect(chosen(chains, null, { fsid: 'new' })).toBe(10);
  });
});
