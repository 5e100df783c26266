import { createHash } from 'node:crypto';
import type { CephPort, DiffRange, ImageLayout } from '@rbdferry/core/ceph/port.js';
import { collectRecords } from '@rbdferry/core/diff/collect-records.js';
import type { ImageSpec } from '@rbdferry/core/model/image-spec.js';
import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { fakeCeph } from './fake-ceph.js';
import { FakeCluster } from './fake-cluster.js';

/** Whatever happens to an image between its snapshots, diffs bring its content across; a plain array says what that is. */
const maxBytes = 48 * 1024;
const at = (image: string): ImageSpec => ({ pool: 'rbd', namespace: '', image });
const source = at('source');
const layout: ImageLayout = {
  sizeBytes: BigInt(maxBytes / 2),
  objectSizeBytes: 8192,
  stripeUnitBytes: 8192,
  stripeCount: 1,
  features: ['layering'],
  dataPool: null,
};

const offset = fc.nat(maxBytes);
const change = fc.oneof(
  fc.record({
    kind: fc.constant('write' as const),
    offset,
    length: fc.integer({ min: 1, max: 20_000 }),
    byte: fc.nat(3),
  }),
  fc.record({ kind: fc.constant('discard' as const), offset, length: fc.integer({ min: 1, max: 20_000 }) }),
  fc.record({ kind: fc.constant('resize' as const), sizeBytes: fc.nat(maxBytes) }),
  fc.record({ kind: fc.constant('snapshot' as const) }),
  fc.record({ kind: fc.constant('rollback' as const), to: fc.nat(5) }),
);
type Change = typeof change extends fc.Arbitrary<infer T> ? T : never;

interface State {
  readonly bytes: Uint8Array;
}

/** Applies a change to the cluster and to the array. Answers the array as it is then. */
const apply = async (cluster: FakeCluster, ceph: CephPort, bytes: Uint8Array, snaps: State[], change: Change) => {
  if (change.kind === 'resize') {
    cluster.resize(source, change.sizeBytes);
    const resized = new Uint8Array(change.sizeBytes);
    resized.set(bytes.subarray(0, change.sizeBytes));
    return resized;
  }
  if (change.kind === 'snapshot') {
    await ceph.createSnapshot(source, `s${snaps.push({ bytes: bytes.slice() })}`);
    return bytes;
  }
  if (change.kind === 'rollback') {
    const state = snaps[change.to];
    if (state === undefined) return bytes;
    await ceph.rollback(source, `s${change.to + 1}`);
    return state.bytes.slice();
  }
  const length = Math.min(change.length, bytes.length - change.offset);
  if (length <= 0) return bytes;
  if (change.kind === 'write') cluster.write(source, change.offset, Buffer.alloc(length, change.byte));
  else cluster.discard(source, change.offset, length);
  return bytes.slice().fill(change.kind === 'write' ? change.byte : 0, change.offset, change.offset + length);
};

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

const send = async (ceph: CephPort, range: DiffRange, to: ImageSpec): Promise<void> => {
  const chunks: Uint8Array[] = [];
  for await (const chunk of ceph.exportDiff(source, range)) chunks.push(chunk.bytes);
  const { summary } = collectRecords(chunks);
  const extents = await ceph.diffExtents(source, range);
  // Data that is all zeros is sent as zeros.
  expect(summary.dataExtents + summary.zeroExtents).toBe(extents.extents);
  expect(summary.dataBytes + summary.zeroBytes).toBe(extents.dataBytes + extents.zeroBytes);
  const sink = ceph.importDiff(to);
  for (const chunk of chunks) await sink.write(chunk);
  await sink.finish();
};

it('brings every snapshot across, by increments and in full, whichever others there are', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(change, { maxLength: 20 }),
      fc.integer({ min: 100, max: 10_000 }),
      async (changes, chunkBytes) => {
        const cluster = new FakeCluster('rbd');
        const ceph = fakeCeph(cluster, { chunkBytes });
        await ceph.create(source, layout);
        await ceph.create(at('chain'), layout);
        const snaps: State[] = [];
        let bytes: Uint8Array = new Uint8Array(maxBytes / 2);
        for (const each of changes) bytes = await apply(cluster, ceph, bytes, snaps, each);
        expect(cluster.sha256(source)).toBe(sha256(bytes));
        for (const [index, state] of snaps.entries()) {
          const [snap, fromSnap] = [`s${index + 1}`, index === 0 ? null : `s${index}`];
          await send(ceph, { snap, fromSnap }, at('chain'));
          await ceph.create(at(snap), layout);
          await send(ceph, { snap, fromSnap: null }, at(snap));
          expect(cluster.sha256(at(snap), snap)).toBe(sha256(state.bytes));
        }
        for (let gone = 1; gone < snaps.length; gone += 2) await ceph.removeSnapshot(at('chain'), `s${gone}`);
        for (const [index, state] of snaps.entries()) {
          if (index % 2 === 1 || index === snaps.length - 1)
            expect(cluster.sha256(at('chain'), `s${index + 1}`)).toBe(sha256(state.bytes));
        }
      },
    ),
    { numRuns: 150 },
  );
});
