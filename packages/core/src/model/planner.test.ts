import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatBackupId, chainNameOf, snapNameOf, type BackupId, type Timestamp } from './backup-id.js';
import { markActive, type Backup, type Chain } from './chain.js';
import { commonBackups, planBackup, type BackupMode, type SourceView } from './planner.js';

/** Times are single letters here, in alphabetical order. */
const time = (letter: string): Timestamp =>
  `2026-01-01.00:00:00.${(letter.codePointAt(0) ?? 0).toString().padStart(6, '0')}` as Timestamp;
const snapId = (letter: string): number => letter.codePointAt(0) ?? 0;
const spec = { pool: 'rbd', namespace: '', image: 'vm1' };
const chainName = (first: string) => chainNameOf('vm1', time(first));
const idOf = (chain: string, letter: string): BackupId =>
  formatBackupId({ store: 's', chain: chainName(chain), snap: snapNameOf(time(letter)) });

/** A chain written as `image id: letters of its backups`, like `X: abc`. */
const chainOf = (text: string, over: Partial<Chain> = {}): Chain => {
  const [imageId = '', letters = ''] = text.split(': ');
  const first = letters[0] ?? '';
  const backups = [...letters].map((letter): Backup => ({
    id: idOf(first, letter),
    snap: snapNameOf(time(letter)),
    kind: letter === first ? 'full' : 'incremental',
    source: {
      identity: { fsid: 'f', image: spec, imageId },
      snapId: snapId(letter),
      layout: {
        sizeBytes: 1n,
        objectSizeBytes: 4096,
        stripeUnitBytes: 4096,
        stripeCount: 1,
        features: [],
        dataPool: null,
      },
      metadata: {},
      binaryMetadata: [],
      metadataOmitted: false,
      parent: null,
    },
    sizeBytes: 1n,
    streamBytes: 1n,
    dataBytes: 1n,
    streamGmac: new Uint8Array(32),
    // Letters are in the order of the commits, unless a test says otherwise.
    committedAtMs: letter.codePointAt(0) ?? 0,
    baseId: null,
    client: 'c',
    hold: null,
  }));
  return { store: 's', name: chainName(first), backups, active: true, legacy: false, partial: false, ...over };
};

/** A source written as `image id: letters of its snapshots`. */
const sourceOf = (text: string, over: Partial<SourceView> = {}): SourceView => {
  const [imageId = '', letters = ''] = text.split(': ');
  return {
    identity: { fsid: 'f', image: spec, imageId },
    snapshots: [...letters].map((letter) => ({ id: snapId(letter), name: snapNameOf(time(letter)) })),
    lineage: null,
    ...over,
  };
};

const summary = (mode: BackupMode, source: SourceView, chains: Chain[]): string => {
  const plan = planBackup(mode, source, chains);
  switch (plan.kind) {
    case 'full':
      return `full, ${plan.because}`;
    case 'incremental':
      return `incremental on ${plan.base.id}`;
    case 'refused':
      return `refused, ${plan.refusal.reason}`;
  }
};

const renamed = (snapshots: { id: number; name: string }[]): Partial<SourceView> => ({ snapshots });

describe('planBackup', () => {
  const table: [string, SourceView, Chain[], string, string][] = [
    ['nothing there', sourceOf('X: '), [], 'full, no-chain', 'refused, no-chain'],
    [
      'one common',
      sourceOf('X: a'),
      [chainOf('X: a')],
      `incremental on ${idOf('a', 'a')}`,
      `incremental on ${idOf('a', 'a')}`,
    ],
    [
      'newest of several',
      sourceOf('X: abc'),
      [chainOf('X: abc')],
      `incremental on ${idOf('a', 'c')}`,
      `incremental on ${idOf('a', 'c')}`,
    ],
    [
      'an older one is left',
      sourceOf('X: b'),
      [chainOf('X: abc')],
      `incremental on ${idOf('a', 'b')}`,
      `incremental on ${idOf('a', 'b')}`,
    ],
    [
      'the newest of two chains',
      sourceOf('X: bd'),
      [chainOf('X: ab'), chainOf('X: cd')],
      `incremental on ${idOf('c', 'd')}`,
      `incremental on ${idOf('c', 'd')}`,
    ],
    [
      'snapshots purged',
      sourceOf('X: '),
      [chainOf('X: abc')],
      'full, no-common-snapshot',
      'refused, no-common-snapshot',
    ],
    ['image made again', sourceOf('Y: '), [chainOf('X: abc')], 'full, image-recreated', 'refused, image-recreated'],
    [
      'image made again, with a snapshot of the same name and id',
      sourceOf('Y: c'),
      [chainOf('X: abc')],
      'full, image-recreated',
      'refused, image-recreated',
    ],
    [
      'a snapshot of the same name but another id',
      sourceOf('X: ', renamed([{ id: 7, name: snapNameOf(time('c')) }])),
      [chainOf('X: abc')],
      'full, no-common-snapshot',
      'refused, no-common-snapshot',
    ],
    [
      "the user's own snapshot",
      sourceOf('X: ', renamed([{ id: snapId('c'), name: 'mine' }])),
      [chainOf('X: abc')],
      'full, no-common-snapshot',
      'refused, no-common-snapshot',
    ],
    [
      'the older tool’s chain',
      sourceOf('X: a'),
      [chainOf('X: a', { legacy: true })],
      'full, no-common-snapshot',
      'refused, no-common-snapshot',
    ],
    [
      'restored from b',
      sourceOf('Y: b', { lineage: { backupId: idOf('a', 'b'), imageId: 'Y', snapId: snapId('b') } }),
      [chainOf('X: abc')],
      `incremental on ${idOf('a', 'b')}`,
      `incremental on ${idOf('a', 'b')}`,
    ],
    [
      'a copy of a restored image: its lineage speaks of another image',
      sourceOf('Z: b', { lineage: { backupId: idOf('a', 'b'), imageId: 'Y', snapId: snapId('b') } }),
      [chainOf('X: abc')],
      'full, image-recreated',
      'refused, image-recreated',
    ],
    [
      'restored, but its snapshot was made again',
      sourceOf('Y: b', { lineage: { backupId: idOf('a', 'b'), imageId: 'Y', snapId: 1 } }),
      [chainOf('X: abc')],
      'full, no-common-snapshot',
      'refused, no-common-snapshot',
    ],
  ];

  it.each(table)('%s', (_, source, chains, auto, incr) => {
    expect(summary('auto', source, chains)).toBe(auto);
    expect(summary('incr', source, chains)).toBe(incr);
    expect(summary('full', source, chains)).toBe('full, asked');
  });

  it('knows an image whose name or whose pool’s name changed by its id, and takes one of another cluster for another', () => {
    const moved = { pool: 'compute', namespace: '', image: 'renamed' };
    const renamed = sourceOf('X: a', { identity: { fsid: 'f', image: moved, imageId: 'X' } });
    expect(summary('incr', renamed, [chainOf('X: a')])).toBe(summary('incr', sourceOf('X: a'), [chainOf('X: a')]));
    const elsewhere = sourceOf('X: a', { identity: { fsid: 'g', image: spec, imageId: 'X' } });
    expect(summary('incr', elsewhere, [chainOf('X: a')])).toBe('refused, no-chain');
  });
});

describe('the order', () => {
  const committed = (chain: Chain, times: readonly number[]): Chain => ({
    ...chain,
    backups: chain.backups.map((backup, index) => ({ ...backup, committedAtMs: times[index] ?? 0 })),
  });

  it('of backups is that of the store, whatever the times in their names', () => {
    // Named c, z and b in the order of the chain: the agent's clock was ahead for a while.
    const jumped = chainOf('X: czb');
    expect(summary('incr', sourceOf('X: czb'), [jumped])).toBe(`incremental on ${idOf('c', 'b')}`);
    const first = committed(chainOf('X: yz'), [1, 2]);
    const second = committed(chainOf('X: ab'), [3, 4]);
    for (const chains of [
      [first, second],
      [second, first],
    ]) {
      expect(summary('incr', sourceOf('X: yzab'), chains)).toBe(`incremental on ${idOf('a', 'b')}`);
      expect(planBackup('incr', sourceOf('X: '), chains)).toMatchObject({ refusal: { newestBackup: idOf('a', 'b') } });
    }
  });

  it('and names shuffled at will change no plan', () => {
    const letters = [...'abcdefgh'];
    fc.assert(
      fc.property(
        fc.shuffledSubarray(letters, { minLength: 4, maxLength: 8 }),
        fc.subarray([0, 1, 2, 3, 4, 5, 6, 7]),
        fc.integer({ min: 1, max: 3 }),
        (names, kept, cut) => {
          const build = (order: readonly string[]) => {
            const chains = [order.slice(0, cut), order.slice(cut)].map((part, index) =>
              committed(
                chainOf(`X: ${part.join('')}`),
                part.map((_, at) => at + (index === 0 ? 0 : cut)),
              ),
            );
            const plan = planBackup('auto', sourceOf(`X: ${kept.flatMap((at) => order[at] ?? []).join('')}`), chains);
            return plan.kind === 'incremental' ? plan.base.committedAtMs : plan.kind;
          };
          expect(build(names)).toBe(build(names.toSorted()));
        },
      ),
    );
  });

  it('a chain that holds backups of another image too says nothing of that one', () => {
    const shared = chainOf('X: ab');
    const copy = { ...spec, image: 'copy' };
    const ofCopy = chainOf('Y: cd');
    const [c, d] = ofCopy.backups.map((backup) => ({
      ...backup,
      source: backup.source && { ...backup.source, identity: { ...backup.source.identity, image: copy } },
    }));
    const chain = { ...shared, backups: [...shared.backups, ...(c === undefined || d === undefined ? [] : [c, d])] };
    expect(planBackup('incr', sourceOf('X: '), [chain])).toMatchObject({ refusal: { newestBackup: idOf('a', 'b') } });
  });
});

describe('commonBackups', () => {
  it('are all that the source still has', () => {
    expect(commonBackups(sourceOf('X: ac'), [chainOf('X: abc')]).map((each) => each.id)).toEqual([
      idOf('a', 'a'),
      idOf('a', 'c'),
    ]);
  });
});

describe('markActive', () => {
  it('marks the chain with the newest backup of each image', () => {
    const chains = [chainOf('X: ab'), chainOf('X: cd')];
    expect(markActive(chains).map((chain) => chain.active)).toEqual([false, true]);
    const continued = [chainOf('X: abz'), chainOf('X: cd')];
    expect(markActive(continued).map((chain) => chain.active)).toEqual([true, false]);
  });

  it('keeps images of other pools apart', () => {
    const other = chainOf('X: cd');
    const moved = {
      ...other,
      backups: other.backups.map((backup) => ({
        ...backup,
        source: backup.source && {
          ...backup.source,
          identity: { ...backup.source.identity, image: { ...spec, pool: 'compute' } },
        },
      })),
    };
    expect(markActive([chainOf('X: ab'), moved]).map((chain) => chain.active)).toEqual([true, true]);
  });
});
