import { sourceChunkBytes, type CephPort, type DiffRange, type TransferCallOptions } from '@rbdferry/core/ceph/port.js';
import { encodeDataHeader, encodeEnd, encodeHeader, encodeZero } from '@rbdferry/core/diff/diff-writer.js';
import type { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { ImageSpec } from '@rbdferry/core/model/image-spec.js';
import { Lease } from '@rbdferry/core/transfer/lease.js';
import { Content, isZero } from './content.js';
import { diffExtents, type Extent } from './diff.js';
import type { Door } from './door.js';
import type { FakeParent, FakeSnapshot } from './fake-image.js';
import { namedSnap } from './refusal.js';

type ExportCalls = Pick<CephPort, 'exportDiff' | 'diffExtents'>;

export const exportCalls = (door: Door): ExportCalls => ({
  exportDiff: (image, diff, options = {}) => ({
    [Symbol.asyncIterator]: () => new Export(door, image, diff, options).chunks(),
  }),

  diffExtents: (spec, { snap, fromSnap }, options) => {
    const what = `compare ${namedSnap(spec, snap)} with ${fromSnap === null ? 'nothing' : `"@${fromSnap}"`}`;
    return door.pass({ call: 'diffExtents', what, where: spec }, options, () => {
      const { extents } = resolve(door, spec, { snap, fromSnap }, what);
      const bytesOf = (wanted: Extent['kind']): bigint =>
        extents.reduce((sum, { kind, length }) => (kind === wanted ? sum + BigInt(length) : sum), 0n);
      return { dataBytes: bytesOf('data'), zeroBytes: bytesOf('zero'), extents: extents.length };
    });
  },
});

const resolve = ({ cluster }: Door, spec: ImageSpec, { snap, fromSnap }: DiffRange, what: string) => {
  const { image, snapshot } = cluster.snapshot(spec, snap, what);
  const from = fromSnap === null ? null : cluster.snapshot(spec, fromSnap, what).snapshot;
  return { snapshot, extents: diffExtents(image, from, snapshot) };
};

/** One run of `rbd export-diff`. It reads the data when somebody wants the next chunk, and ends well whatever became of the snapshot. */
class Export {
  readonly #door: Door;
  readonly #spec: ImageSpec;
  readonly #diff: DiffRange;
  readonly #signal: AbortSignal | undefined;
  readonly #what: string;
  readonly #onAlive: () => void;
  #killed: FerryError | null = null;

  constructor(door: Door, spec: ImageSpec, diff: DiffRange, { signal, onAlive = () => {} }: TransferCallOptions) {
    this.#door = door;
    this.#spec = spec;
    this.#diff = diff;
    this.#signal = signal;
    this.#onAlive = onAlive;
    this.#what = `export ${namedSnap(spec, diff.snap)}`;
  }

  async *chunks(): AsyncGenerator<Lease, void, undefined> {
    const { cluster, options } = this.#door;
    const what = this.#what;
    const kill = (failure: FerryError): void => {
      this.#killed = failure;
    };
    const ended = cluster.trouble.running({ verb: 'export-diff', what, kill });
    try {
      const request = { call: 'exportDiff', what, where: this.#spec };
      const records = await this.#door.pass(request, { signal: this.#signal }, () => this.#records());
      for (const chunk of inChunks(records, options.chunkBytes ?? sourceChunkBytes)) {
        this.#onAlive();
        yield leased(chunk);
        // Not through the door: that the pool is gone is as little noticed as that the snapshot is.
        await cluster.trouble.pass('exportDiff.chunk', what, this.#signal);
        if (this.#killed !== null) throw this.#killed;
      }
    } finally {
      ended();
    }
  }

  /** Looks at once for what differs, and for the data of each extent only when it is its turn. */
  #records(): Iterable<Uint8Array> {
    const { snap: toSnap, fromSnap } = this.#diff;
    const { snapshot, extents } = resolve(this.#door, this.#spec, this.#diff, this.#what);
    const { parent, sizeBytes } = snapshot;
    return (function* () {
      yield encodeHeader({ fromSnap, toSnap, sizeBytes });
      for (const { kind, offset, length } of extents) {
        const bytes = kind === 'zero' ? null : readable(snapshot, parent).read(offset, length);
        if (bytes === null || isZero(bytes)) {
          yield encodeZero(BigInt(offset), BigInt(length));
        } else {
          yield encodeDataHeader(BigInt(offset), BigInt(length));
          yield bytes;
        }
      }
      yield encodeEnd();
    })();
  }
}

/** In a buffer that is used again, as that is which the real one's output is read into. */
const leased = (chunk: Uint8Array): Lease => {
  const lease = Lease.take(chunk.length);
  lease.bytes.set(chunk);
  return lease;
};

/** What can still be read of a snapshot: nothing when it was removed, and nothing of its parent's when that is gone. */
const readable = ({ gone, content }: FakeSnapshot, parent: FakeParent | null): Content => {
  if (gone) return new Content();
  return parent?.snapshot.gone === true ? content.without(parent.snapshot.content) : content;
};

/** The same bytes, all chunks but the last of this size. Takes no more of them than the next chunk needs. */
function* inChunks(pieces: Iterable<Uint8Array>, chunkBytes: number): Generator<Uint8Array, void, undefined> {
  let waiting: Uint8Array[] = [];
  let bytes = 0;
  for (const piece of pieces) {
    waiting.push(piece);
    bytes += piece.length;
    if (bytes < chunkBytes) continue;
    let whole = Buffer.concat(waiting);
    for (; whole.length >= chunkBytes; whole = whole.subarray(chunkBytes)) yield whole.subarray(0, chunkBytes);
    waiting = [whole];
    bytes = whole.length;
  }
  if (bytes > 0) yield Buffer.concat(waiting);
}
