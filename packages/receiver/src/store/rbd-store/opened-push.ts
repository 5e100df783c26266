import type { ByteSink } from '@rbdferry/core/ceph/port.js';
import { FerryError, toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { Release } from '@rbdferry/core/lifecycle/keyed-lock.js';
import { endRecord } from '@rbdferry/core/transfer/incoming-stream.js';
import type { RbdLife } from '@rbdferry/core/transfer/life.js';
import { withinStallTime } from '@rbdferry/core/transfer/stall.js';
import type { BackupId, ChainName, SnapName } from '@rbdferry/core/model/backup-id.js';
import type { Backup } from '@rbdferry/core/model/chain.js';
import type { OpenedPush, PushIntent, StreamFacts } from '../port.js';
import { backupKey, encodeFacts, encodeState, fitSource, stateKey } from './backup-meta.js';
import type { StoreContext } from './context.js';

export interface PushContext extends StoreContext {
  readonly chain: ChainName;
  readonly intent: PushIntent;
  readonly backupId: BackupId;
  readonly baseId: BackupId | null;
  readonly stallMs: number;
  readonly release: Release;
  readonly onCommitted: () => void;
  /** Takes over work that the sender does not wait for. It never rejects. */
  readonly background: (work: Promise<void>) => void;
  /** Puts the chain right after a failure; never throws. */
  readonly cleanUp: () => Promise<void>;
}

/** A transfer into an RBD image whose state says `receiving` already. */
export class RbdOpenedPush implements OpenedPush {
  readonly backupId: BackupId;
  readonly #context: PushContext;
  #importing: { readonly sink: ByteSink; readonly life: RbdLife } | null = null;
  #ended = false;

  constructor(context: PushContext) {
    this.#context = context;
    this.backupId = context.backupId;
  }

  begin(life: RbdLife): void {
    const { ceph, reader, chain } = this.#context;
    this.#importing ??= { sink: ceph.importDiff(reader.image(chain), { onAlive: life.sign }), life };
  }

  async write(chunk: Uint8Array): Promise<void> {
    await this.#step((sink) => sink.write(chunk), 'took no data');
  }

  async #step(step: (sink: ByteSink) => Promise<void>, complaint: string): Promise<void> {
    const { chain, stallMs } = this.#context;
    if (this.#importing === null) throw new FerryError('INTERNAL', `the push into ${chain} has not begun`);
    const { sink, life } = this.#importing;
    await withinStallTime(step(sink), { ms: stallMs, what: `rbd import-diff into ${chain} ${complaint}`, life });
  }

  /**
   * If we die here: before the end record, there is neither snapshot nor facts. Before the facts, there may be a snapshot
   * without them, which the next look removes. After them, the backup is there and the state still says `receiving`: the
   * next look finds the backup and puts the state right.
   *
   * The facts wait until `import-diff` has ended, since it holds the image's exclusive lock. While it does, `image-meta set`
   * asks it to set the key, and one that asks twice may never hear that it is done (ceph/ceph pull 49835; 1 of 308 with
   * Ceph 16.2.15, none of 400 one after the other).
   */
  async commit(stream: StreamFacts): Promise<Backup> {
    const { reader, chain, intent, now, background } = this.#context;
    try {
      await this.write(endRecord);
      await this.#step((sink) => sink.finish(), 'did not end');
      await this.#lookAtSnapshot();
      const backup = this.#backup(stream, now());
      await reader.setMetadata(chain, backupKey(intent.snap), encodeFacts(backup, intent.base?.snap ?? null));
      reader.committed(backup.id);
      this.#ended = true;
      // The backup stands: the sender need not wait for the rest.
      background(this.#settle(intent.snap));
      return backup;
    } catch (thrown) {
      await this.discard();
      throw toFerryError(thrown);
    }
  }

  /** Exit 0 proves nothing: the snapshot must be there, of an image as large as the source. @throws VERIFY_FAILED */
  async #lookAtSnapshot(): Promise<void> {
    const { ceph, reader, chain, intent } = this.#context;
    const snapshots = await ceph.snapshots(reader.image(chain));
    const { sizeBytes } = intent.source.layout;
    const made = snapshots.find(({ name }) => name === intent.snap);
    if (made?.sizeBytes === sizeBytes && made === snapshots.at(-1)) return;
    const what = made === undefined ? 'no such snapshot' : `one of ${made.sizeBytes} bytes`;
    throw new FerryError(
      'VERIFY_FAILED',
      `rbd import-diff made ${what} in ${chain}; expected ${intent.snap} of ${sizeBytes} bytes`,
    );
  }

  async discard(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    try {
      await this.#importing?.sink.abort();
      await this.#context.cleanUp();
    } finally {
      this.#context.release();
    }
  }

  /** Says that the head equals the new backup, and lets go of the chain. */
  async #settle(snap: SnapName): Promise<void> {
    const { reader, chain, log, onCommitted, release } = this.#context;
    try {
      await reader.setMetadata(chain, stateKey, encodeState({ kind: 'clean', v: 1, head: snap }));
      reader.settled(this.backupId);
      onCommitted();
    } catch (thrown) {
      log.warn({ chain, error: toFerryError(thrown).message }, 'the next transfer will have to look at the head first');
    } finally {
      release();
    }
  }

  #backup(stream: StreamFacts, nowMs: number) {
    const { intent, backupId, baseId } = this.#context;
    const source = fitSource(intent.source);
    return {
      ...stream,
      id: backupId,
      snap: intent.snap,
      kind: baseId === null ? ('full' as const) : ('incremental' as const),
      source,
      sizeBytes: source.layout.sizeBytes,
      committedAtMs: nowMs,
      baseId,
      client: intent.client,
    };
  }
}
