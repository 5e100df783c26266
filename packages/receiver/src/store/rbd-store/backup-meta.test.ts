import type { Backup, SourceFacts } from '@rbdferry/core/model/chain.js';
import { formatBackupId, type ChainName, type SnapName } from '@rbdferry/core/model/backup-id.js';
import { describe, expect, it } from 'vitest';
import { decodeFacts, decodeHold, encodeFacts, encodeHold, fitSource } from './backup-meta.js';

const chain = 'vm.2026-11-27.10:00:00.000000.bkp.image' as ChainName;
const [base, snap] = ['2026-11-27.10:00:00.000000.snap', '2026-11-27.11:00:00.000000.snap'] as SnapName[] as [
  SnapName,
  SnapName,
];
const idOf = (name: SnapName) => formatBackupId({ store: 'main', chain, snap: name });

const source: SourceFacts = {
  identity: { fsid: 'f', image: { pool: 'rbd', namespace: '', image: 'vm' }, imageId: '1a' },
  snapId: 7,
  layout: {
    sizeBytes: 2n ** 60n,
    objectSizeBytes: 4_194_304,
    stripeUnitBytes: 4_194_304,
    stripeCount: 1,
    features: ['layering'],
    dataPool: null,
  },
  metadata: { owner: 'me' },
  binaryMetadata: [],
  metadataOmitted: false,
  parent: null,
};

const backup: Backup & { source: SourceFacts; client: string } = {
  id: idOf(snap),
  snap,
  kind: 'incremental',
  source,
  sizeBytes: source.layout.sizeBytes,
  streamBytes: 2n ** 61n,
  dataBytes: 5n,
  streamGmac: Buffer.alloc(16, 0xab),
  committedAtMs: Date.UTC(2026, 10, 27, 11),
  baseId: idOf(base),
  client: 'agent1',
  hold: null,
};

describe('facts of a backup', () => {
  it('are read as they were written', () => {
    expect(decodeFacts(encodeFacts(backup, base), snap, idOf)).toEqual(backup);
  });

  it('that were written when streams had a SHA-256 are a backup, of which the digest is not known', () => {
    const { streamGmac, ...rest } = JSON.parse(encodeFacts(backup, base)) as Record<string, unknown>;
    expect(streamGmac).toBe('ab'.repeat(16));
    const text = JSON.stringify({ ...rest, streamSha256: 'cd'.repeat(32) });
    expect(decodeFacts(text, snap, idOf)).toEqual({ ...backup, streamGmac: Buffer.alloc(0) });
  });

  it('hold image-meta that is no text, and are read without it', () => {
    const binaryMetadata = [{ key: Buffer.of(0xff, 0), value: Buffer.of() }];
    const odd = { ...backup, source: { ...source, binaryMetadata } };
    expect(decodeFacts(encodeFacts(odd, base), snap, idOf)).toEqual(odd);
    expect(encodeFacts(backup, base)).not.toContain('binaryMetadata');
  });

  it('leave out image-meta that does not fit, text or not', () => {
    const large = { ...source, binaryMetadata: [{ key: Buffer.of(0xff), value: Buffer.alloc(90_000) }] };
    expect(fitSource(large)).toEqual({ ...source, metadata: {}, binaryMetadata: [], metadataOmitted: true });
    expect(fitSource(source)).toEqual(source);
  });

  it.each(['', '{}', 'null', '{"v":2}'])('are not in %j', (text) => {
    expect(decodeFacts(text, snap, idOf)).toBeUndefined();
  });
});

describe('a hold', () => {
  it.each([null, Date.UTC(2027, 5, 30)])('is read as it was written, until %s', (untilMs) => {
    const hold = { untilMs, reason: 'audit "2026"\u0000\n', sinceMs: Date.UTC(2026, 10, 27, 11), client: 'agent1' };
    expect(encodeHold(hold)).not.toMatch(/\p{Cc}/u);
    expect(decodeHold(encodeHold(hold))).toEqual(hold);
  });

  it.each(['', '{}', '{"v":2,"until":null}', 'null'])('that cannot be read stands: %j', (text) => {
    expect(decodeHold(text)).toMatchObject({ untilMs: null, reason: 'this release cannot read the hold' });
  });
});
