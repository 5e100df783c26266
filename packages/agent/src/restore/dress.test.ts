import type { ImageInfo } from '@rbdferry/core/ceph/port.js';
import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { ErrorCode } from '@rbdferry/core/errors/registry.js';
import type { BackupId, SnapName } from '@rbdferry/core/model/backup-id.js';
import type { Backup } from '@rbdferry/core/model/chain.js';
import type { MetadataEntry } from '@rbdferry/core/model/image-meta.js';
import { describe, expect, it } from 'vitest';
import { dress } from './dress.js';

const image = { pool: 'rbd', namespace: '', image: 'vm' };
const snap = '2026-11-27.10:00:00.000000.snap' as SnapName;
const layout = {
  sizeBytes: 1n,
  objectSizeBytes: 4096,
  stripeUnitBytes: 4096,
  stripeCount: 1,
  features: [],
  dataPool: null,
};

const backupWith = (metadata: Record<string, string>, binaryMetadata: MetadataEntry[] = []): Backup => ({
  id: `main/vm.2026-11-27.10:00:00.000000.bkp.image@${snap}` as BackupId,
  snap,
  kind: 'full',
  sizeBytes: 1n,
  streamBytes: 1n,
  dataBytes: 1n,
  streamGmac: Buffer.of(),
  committedAtMs: 1,
  baseId: null,
  client: 'agent1',
  hold: null,
  source: {
    identity: { fsid: 'f', image, imageId: '1a' },
    snapId: 1,
    layout,
    metadata,
    binaryMetadata,
    metadataOmitted: false,
    parent: null,
  },
});

/** What `dress` uses of a restored image. */
const whole = {
  info: {
    ...layout,
    id: '2b',
    name: 'vm',
    parent: null,
    hasClones: false,
    format: 2,
    group: null,
    mirroring: null,
  } satisfies ImageInfo,
  snapshot: { id: 1, name: snap, sizeBytes: 1n, protected: false },
};

/** Dresses an image on a cluster that refuses one key, and answers what was set and what was warned of. */
const dressed = async (backup: Backup, refused?: { key: string; code: ErrorCode }) => {
  const set = new Map<string, string>();
  const warnings: string[] = [];
  const setMetadata = async (_: unknown, key: string, value: string): Promise<void> => {
    if (key === refused?.key) throw new FerryError(refused.code, 'cannot set it: no such setting');
    set.set(key, value);
  };
  const job = {
    ceph: { setMetadata },
    signal: new AbortController().signal,
    warn: (text: string) => warnings.push(text),
  };
  await dress(image, backup, whole, job);
  set.delete('rbdferry.lineage');
  return { set: Object.fromEntries(set), warnings };
};

describe('image-meta of a restored image', () => {
  it('is set as it was, whatever is in it', async () => {
    const metadata = { owner: 'Zoë', lines: 'a\nb\n', '-x': '--conf', 'k"\n': '\u0001' };
    expect(await dressed(backupWith(metadata))).toEqual({ set: metadata, warnings: [] });
  });

  it('is left out where rbd cannot set it, with a warning that names it', async () => {
    const binary = [
      { key: Buffer.from('bytes'), value: Buffer.of(0xff) },
      { key: Buffer.of(0xff, 0xfe), value: Buffer.from('v') },
    ];
    const metadata = { good: 'x', empty: '', '': 'no key', 'n\0l': 'v', nul: 'a\0b' };
    const { set, warnings } = await dressed(backupWith(metadata, binary));
    expect(set).toEqual({ good: 'x' });
    expect(warnings).toEqual([
      'the image-meta "empty" is not restored: its value is empty, which rbd does not set',
      'the image-meta "" is not restored: rbd sets no empty key',
      String.raw`the image-meta "n\u0000l" is not restored: its key holds a NUL, which rbd cannot be told`,
      'the image-meta "nul" is not restored: its value holds a NUL, which rbd cannot be told',
      'the image-meta "bytes" is not restored: its value is no UTF-8, which cannot be set',
      'the image-meta 0xfffe is not restored: its key is no UTF-8, which cannot be set',
    ]);
  });

  it('is left out where rbd refuses it', async () => {
    const metadata = { conf_bogus: '1', good: 'x' };
    const { set, warnings } = await dressed(backupWith(metadata), { key: 'conf_bogus', code: 'CEPH_FAILED' });
    expect(set).toEqual({ good: 'x' });
    expect(warnings).toEqual(['the image-meta "conf_bogus" is not restored: cannot set it: no such setting']);
  });

  it('is not left out because the cluster is in trouble', async () => {
    const failing = dressed(backupWith({ a: 'b' }), { key: 'a', code: 'CEPH_NO_SPACE' });
    await expect(failing).rejects.toMatchObject({ code: 'CEPH_NO_SPACE' });
  });

  it('does not flood the job with warnings', async () => {
    const metadata = Object.fromEntries(Array.from({ length: 60 }, (_, index) => [`k${index}`, '']));
    const { warnings } = await dressed(backupWith(metadata));
    expect(warnings).toHaveLength(51);
    expect(warnings.at(-1)).toBe('10 more entries of the image-meta are not restored');
  });
});
