import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { ImageInfo, Snapshot } from '@rbdferry/core/ceph/port.js';
import {
  chainNameOf,
  formatBackupId,
  snapNameOf,
  type BackupId,
  type SnapName,
  type Timestamp,
} from '@rbdferry/core/model/backup-id.js';
import type { Backup, Chain } from '@rbdferry/core/model/chain.js';
import { joinMetadata } from '@rbdferry/core/model/image-meta.js';
import type { ImageSpec } from '@rbdferry/core/model/image-spec.js';
import { describe, expect, it } from 'vitest';
import { listBackups, type ListDeps } from './list-backups.js';

/** What one listing of a pool says must be what looks at its images say; the looks are checked on real clusters. */

const time = '2026-01-01.00:00:00.000001' as Timestamp;
const snap = snapNameOf(time);
const specOf = (image: string): ImageSpec => ({ pool: 'rbd', namespace: '', image });
const idOf = (image: string): BackupId => formatBackupId({ store: 's', chain: chainNameOf(image, time), snap });

const layout = {
  sizeBytes: 1n,
  objectSizeBytes: 4096,
  stripeUnitBytes: 4096,
  stripeCount: 1,
  features: [],
  dataPool: null,
};

const chainOf = (image: string): Chain => {
  const backup: Backup = {
    id: idOf(image),
    snap,
    kind: 'full',
    source: {
      identity: { fsid: 'f', image: specOf(image), imageId: `id of ${image}` },
      snapId: 7,
      layout,
      metadata: {},
      binaryMetadata: [],
      metadataOmitted: false,
      parent: null,
    },
    sizeBytes: 1n,
    streamBytes: 1n,
    dataBytes: 1n,
    streamGmac: new Uint8Array(32),
    committedAtMs: 0,
    baseId: null,
    client: 'c',
    hold: null,
  };
  return {
    store: 's',
    name: chainNameOf(image, time),
    backups: [backup],
    active: true,
    legacy: false,
    partial: false,
  };
};

interface FakeImage {
  readonly id: string;
  readonly snapshots: readonly Snapshot[];
  readonly metadata?: Record<string, string>;
}

const snapshotOf = (id: number, name: SnapName | 'mine'): Snapshot => ({ id, name, sizeBytes: 1n, protected: false });

/** A cluster that counts what it is asked, and is one in which images are as told. */
const clusterOf = (images: ReadonlyMap<string, FakeImage>) => {
  const asked = { looks: [] as string[], lineages: [] as string[], listings: 0 };
  const find = (spec: ImageSpec): FakeImage => {
    const found = images.get(spec.image);
    if (found === undefined) throw new FerryError('IMAGE_NOT_FOUND', `there is no image ${spec.image}`);
    return found;
  };
  const info = ({ id }: FakeImage): ImageInfo => ({ id, ...layout, parent: null });
  const ceph: ListDeps['ceph'] = {
    fsid: async () => 'f',
    info: async (spec) => {
      asked.looks.push(spec.image);
      return info(find(spec));
    },
    snapshots: async (spec) => [...find(spec).snapshots],
    metadataEntries: async (spec) => {
      asked.lineages.push(spec.image);
      return joinMetadata({ metadata: find(spec).metadata ?? {}, binaryMetadata: [] });
    },
    list: async () => [...images.keys()],
    listWithSnapshots: async () => {
      asked.listings += 1;
      return [...images].map(([name, { id, snapshots }]) => ({ name, id, snapshots }));
    },
  };
  return { ceph, asked };
};

const lineageOf = (image: string, imageId: string, snapId: number): Record<string, string> => ({
  'rbdferry.lineage': JSON.stringify({ v: 1, backupId: idOf(image), imageId, snapId }),
});

/** Images of every kind, and enough others that their pool is listed as a whole. */
const kinds: readonly (readonly [string, FakeImage | null])[] = [
  ['unchanged', { id: 'id of unchanged', snapshots: [snapshotOf(7, snap)] }],
  ['snapless', { id: 'id of snapless', snapshots: [snapshotOf(3, 'mine')] }],
  ['gone', null],
  ['recreated', { id: 'another', snapshots: [] }],
  ['recreated-with-snap', { id: 'another', snapshots: [snapshotOf(7, snap)] }],
  [
    'restored',
    { id: 'restored id', snapshots: [snapshotOf(2, snap)], metadata: lineageOf('restored', 'restored id', 2) },
  ],
];
const filler = (count: number) =>
  Array.from({ length: count }, (_, index): readonly [string, FakeImage] => [
    `vm${index}`,
    { id: `id of vm${index}`, snapshots: [snapshotOf(7, snap)] },
  ]);

const imageOf = ({ name }: Chain): string => name.slice(0, name.indexOf('.'));

const list = async (images: readonly (readonly [string, FakeImage | null])[], of: ImageSpec | null = null) => {
  const there = images.flatMap(([name, image]) => (image === null ? [] : [[name, image] as const]));
  const { ceph, asked } = clusterOf(new Map(there));
  const receiver = {
    async *chains(_: string, image: string | null): AsyncGenerator<Chain, void, undefined> {
      for (const [name] of images) if (image === null || image === name) yield chainOf(name);
    },
  };
  const present = new Map<string, number>();
  const { signal } = new AbortController();
  for await (const listed of listBackups('s', of, { ceph, receiver, signal })) {
    if (listed.kind === 'chain') present.set(imageOf(listed.chain), listed.presentOnSource.length);
  }
  return { present, asked };
};

describe('which backups of a store could be built on', () => {
  const expected = { unchanged: 1, snapless: 0, gone: 0, recreated: 0, 'recreated-with-snap': 0, restored: 1 };

  it('is found by looks at few images', async () => {
    const { present, asked } = await list(kinds);
    expect(Object.fromEntries(present)).toEqual(expected);
    expect(asked.listings).toBe(0);
    expect(asked.lineages.toSorted()).toEqual(['recreated-with-snap', 'restored']);
  });

  it.each(kinds)('of one image, %s, by a look at that image only', async (name) => {
    const { present, asked } = await list([...kinds, ...filler(30)], specOf(name));
    expect(Object.fromEntries(present)).toEqual({ [name]: expected[name as keyof typeof expected] });
    expect(asked).toMatchObject({ looks: [name], listings: 0 });
    expect(asked.lineages).toEqual(['recreated-with-snap', 'restored'].filter((each) => each === name));
  });

  it('is the same by one listing of a pool with many, and a question of lineage only where that is not clear', async () => {
    const { present, asked } = await list([...kinds, ...filler(30)]);
    const others = Object.fromEntries(filler(30).map(([name]) => [name, 1]));
    expect(Object.fromEntries(present)).toEqual({ ...expected, ...others });
    expect([...present.keys()].slice(0, 3)).toEqual(['unchanged', 'snapless', 'gone']);
    expect(asked.listings).toBe(1);
    expect(asked.looks).toEqual([]);
    expect(asked.lineages.toSorted()).toEqual(['recreated-with-snap', 'restored']);
  });
});

describe('a source that cannot be looked at', () => {
  const listWith = async (ceph: ListDeps['ceph'], images: readonly string[]) => {
    const receiver = {
      async *chains(): AsyncGenerator<Chain, void, undefined> {
        for (const name of images) yield chainOf(name);
      },
    };
    const found: string[] = [];
    for await (const listed of listBackups('s', null, { ceph, receiver, signal: new AbortController().signal })) {
      if (listed.kind === 'chain') found.push(`${imageOf(listed.chain)} ${listed.sourceUnknown?.code ?? 'known'}`);
    }
    return found;
  };
  const { ceph } = clusterOf(
    new Map(['good', 'bad'].map((name) => [name, { id: `id of ${name}`, snapshots: [snapshotOf(7, snap)] }])),
  );

  it('is no failure of the listing: the rest is known', async () => {
    const info: ListDeps['ceph']['info'] = async (spec) => {
      if ('image' in spec && spec.image === 'bad') throw new FerryError('CEPH_PERMISSION', 'cannot open it');
      return ceph.info(spec);
    };
    expect(await listWith({ ...ceph, info }, ['good', 'bad'])).toEqual(['good known', 'bad CEPH_PERMISSION']);
  });

  it('nor is a cluster that is away, which nobody waits for again', async () => {
    const away = async () => {
      throw new FerryError('CEPH_UNAVAILABLE', 'no answer');
    };
    const images = Array.from({ length: 30 }, (_, index) => `vm${index}`);
    const dead = { ...ceph, info: away, fsid: away, list: away, listWithSnapshots: away };
    expect(await listWith(dead, images)).toEqual(images.map((name) => `${name} CEPH_UNAVAILABLE`));
  });
});
