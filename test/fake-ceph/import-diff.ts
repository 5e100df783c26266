import type { ByteSink, CephPort, TransferCallOptions } from '@rbdferry/core/ceph/port.js';
import { DiffError } from '@rbdferry/core/diff/diff-error.js';
import { DiffParser } from '@rbdferry/core/diff/diff-parser.js';
import type { DiffHeader } from '@rbdferry/core/diff/records.js';
import { abortReason, FerryError, throwIfAborted } from '@rbdferry/core/errors/ferry-error.js';
import type { ImageSpec } from '@rbdferry/core/model/image-spec.js';
import type { Door } from './door.js';
import type { FakeImage } from './fake-image.js';
import { named, refusal } from './refusal.js';

export const importCalls = (door: Door): Pick<CephPort, 'importDiff'> => ({
  importDiff: (image, options = {}) => new Import(door, image, options),
});

/** What a running import has open, until it has ended. */
interface Opened {
  readonly image: FakeImage;
  readonly parser: DiffParser;
}

/** One run of `rbd import-diff`: changes the head as the data comes, and makes the snapshot at the end. */
class Import implements ByteSink {
  readonly #door: Door;
  readonly #spec: ImageSpec;
  readonly #what: string;
  readonly #signal: AbortSignal | undefined;
  readonly #ending = new AbortController();
  readonly #onAlive: () => void;
  readonly #childGone: () => void;
  readonly #opened: Promise<Opened>;
  #unwatch = (): void => {};
  #stopChanging = (): void => {};
  #state: { readonly kind: 'running' | 'committed' } | { readonly kind: 'failed'; readonly failure: FerryError } = {
    kind: 'running',
  };

  /** @throws the signal's reason when it is aborted already */
  constructor(door: Door, spec: ImageSpec, { signal, onAlive = () => {} }: TransferCallOptions) {
    throwIfAborted(signal);
    this.#door = door;
    this.#spec = spec;
    this.#what = `import into ${named(spec)}`;
    this.#signal = signal;
    this.#onAlive = onAlive;
    signal?.addEventListener('abort', this.#onSignal);
    const kill = (failure: FerryError): void => {
      // Its watch stays: nobody closed the image.
      this.#unwatch = () => {};
      this.#fail(failure);
    };
    this.#childGone = door.cluster.trouble.running({ verb: 'import-diff', what: this.#what, kill });
    this.#opened = this.#open();
    this.#opened.catch(() => {});
  }

  async write(chunk: Uint8Array): Promise<void> {
    await this.#step('importDiff.write', ({ image, parser }) => {
      this.#door.mayWrite(this.#what, this.#spec.pool, image.layout.dataPool);
      parser.push(chunk);
      if (parser.ended && this.#door.options.importCommitsAt === 'end-record') this.#commit(image, parser);
    });
  }

  async finish(): Promise<void> {
    throwIfAborted(this.#signal);
    // A child that committed has committed, whatever came in between.
    if (this.#state.kind === 'committed') return;
    await this.#step('importDiff.finish', ({ image, parser }) => this.#commit(image, parser));
  }

  async abort(): Promise<void> {
    if (this.#state.kind !== 'running') return;
    const why = this.#signal?.aborted === true ? abortReason(this.#signal) : this.#brokenOff();
    this.#fail(why);
    this.#ending.abort(why);
    await this.#opened.catch(() => {});
  }

  readonly #onSignal = (): void => {
    void this.abort();
  };

  #brokenOff(): FerryError {
    return new FerryError('CANCELLED', `cannot ${this.#what}: it was broken off`);
  }

  /** The image is open from the first moment on, as far as others can see. */
  #open(): Promise<Opened> {
    return this.#run('importDiff', () => {
      const image = this.#door.cluster.image(this.#spec, this.#what);
      this.#door.mayRemove(this.#what);
      this.#openForWriting(image);
      return { image, parser: this.#parserFor(image) };
    });
  }

  #openForWriting(image: FakeImage): void {
    this.#door.cluster.noteChange(image, this.#what);
    this.#unwatch = image.watch();
    image.imports += 1;
    this.#stopChanging = () => {
      image.imports -= 1;
    };
  }

  async #step(call: string, work: (opened: Opened) => void): Promise<void> {
    const opened = await this.#opened;
    await this.#run(call, () => {
      if (this.#state.kind === 'committed')
        throw refusal('CEPH_FAILED', this.#what, 'it ended before it got everything');
      work(opened);
      this.#onAlive();
    });
  }

  /** Runs a step of the child, which is gone when one fails; its failure is that of every later step. */
  async #run<T>(call: string, work: () => T): Promise<T> {
    try {
      return await this.#door.pass(
        { call, what: this.#what, where: this.#spec },
        { signal: this.#ending.signal },
        () => {
          if (this.#state.kind === 'failed') throw this.#state.failure;
          return work();
        },
      );
    } catch (thrown) {
      this.#fail(asFailure(thrown, this.#what));
      throw this.#state.kind === 'failed' ? this.#state.failure : thrown;
    }
  }

  #fail(failure: FerryError): void {
    if (this.#state.kind === 'running') this.#end({ kind: 'failed', failure });
  }

  #commit(image: FakeImage, parser: DiffParser): void {
    const { toSnap } = parser.finish().header;
    this.#door.mayWrite(this.#what, this.#spec.pool);
    if (toSnap !== null) this.#door.cluster.addSnapshotTo(image, toSnap, this.#what);
    this.#end({ kind: 'committed' });
  }

  #end(state: { readonly kind: 'committed' } | { readonly kind: 'failed'; readonly failure: FerryError }): void {
    this.#state = state;
    this.#unwatch();
    this.#stopChanging();
    this.#childGone();
    this.#signal?.removeEventListener('abort', this.#onSignal);
  }

  #parserFor(image: FakeImage): DiffParser {
    let at = 0;
    return new DiffParser({
      visitor: {
        header: (header) => {
          this.#begin(image, header);
        },
        data: (offset) => {
          at = Number(offset);
        },
        payload: (view) => {
          image.head.writeSparsely(at, view);
          at += view.length;
        },
        zero: (offset, length) => {
          image.head.discard(Number(offset), Number(length));
        },
      },
    });
  }

  #begin(image: FakeImage, { fromSnap, toSnap, sizeBytes }: DiffHeader): void {
    if (fromSnap !== null && image.snapshot(fromSnap) === undefined)
      throw refusal('SNAPSHOT_NOT_FOUND', this.#what, `start snapshot '${fromSnap}' does not exist in the image`);
    if (toSnap !== null && image.snapshot(toSnap) !== undefined)
      throw refusal('SNAPSHOT_EXISTS', this.#what, `end snapshot '${toSnap}' already exists`);
    image.resize(sizeBytes);
  }
}

/** What `rbd` says to a bad stream, as far as it notices. */
const asFailure = (thrown: unknown, what: string): FerryError => {
  if (thrown instanceof FerryError) return thrown;
  if (!(thrown instanceof DiffError)) throw thrown;
  if (thrown.kind === 'bad-banner') return refusal('CEPH_FAILED', what, 'invalid or unexpected diff banner');
  return refusal('CEPH_FAILED', what, `import-diff failed: (74) Bad message (${thrown.message})`);
};
