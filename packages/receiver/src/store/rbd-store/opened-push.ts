import type { ByteSink, CephPort } from '@rbdferry/core/ceph/port.js';
import { toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { Release } from '@rbdferry/core/lifecycle/keyed-lock.js';
import { withinStallTime } from '@rbdferry/core/transfer/stall.js';
import type { BackupId, SnapName } from '@rbdferry/core/model/backup-id.js';
import type { Backup } from '@rbdferry/core/model/chain.js';
import type { ImageSpec } from '@rbdferry/core/model/image-spec.js';
import type { OpenedPush, PushIntent, StreamFacts } from '../port.js';
import { backupKey, encodeFacts, encodeState, fitSource, stateKey } from './backup-meta.js';

export interface PushContext {
  readonly ceph: CephPort;
  readonly image: ImageSpec;
  readonly intent: PushIntent;
  readonly backupId: BackupId;
  readonly baseId: BackupId | null;
  readonly stallMs: number;
  readonly release: Release;
  readonly now: () => number;
  /** Puts the chain right after a failure; never throws. */
  readonly cleanUp: () => Promise<void>;
}

/** The final record of an rbd diff: without it `import-diff` fails and makes no snapshot. */
const endRecord = Uint8Array.of('e'.charCodeAt(0));

/** A transfer into an RBD image whose state says `receiving` already. */
export class RbdOpenedPush implements OpenedPush {
  readonly backupId: BackupId;
  readonly #context: PushContext;
  #sink: ByteSink | null = null;
  #ended = false;

  constructor(context: PushContext) {
    this.#context = context;
    this.backupId = context.backupId;
  }

  async write(chunk: Uint8Array): Promise<void> {
    const { ceph, image, stallMs } = this.#context;
    this.#sink ??= ceph.importDiff(image);
    await withinStallTime(this.#sink.write(chunk), stallMs, `rbd import-diff into ${image.image} took no data`);
  }

  /**
   * If we die here: before the facts, there is neither snapshot nor facts. Before the end record, there are facts without
   * a snapshot, which count for nothing. After it, the snapshot and its facts are there and the state still says
   * `receiving`: the next look finds the backup and puts the state right.
   */
  async commit(stream: StreamFacts): Promise<Backup> {
    const { ceph, image, intent, now, stallMs } = this.#context;
    try {
      const backup = this.#backup(stream, now());
      await ceph.setMetadata(image, backupKey(intent.snap), encodeFacts(backup, intent.base?.snap ?? null));
      await this.write(endRecord);
      const sink = this.#sink;
      if (sink !== null)
        await withinStallTime(sink.finish(), stallMs, `rbd import-diff into ${image.image} did not end`);
      this.#sink = null;
      this.#ended = true;
      await this.#markClean(intent.snap);
      return backup;
    } catch (thrown) {
      await this.discard();
      throw toFerryError(thrown);
    } finally {
      this.#context.release();
    }
  }

  async discard(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    try {
      await this.#sink?.abort();
      await this.#context.cleanUp();
    } finally {
      this.#context.release();
    }
  }

  /** The backup stands whether or not this succeeds. */
  async #markClean(snap: SnapName): Promise<void> {
    const { ceph, image } = this.#context;
    await ceph.setMetadata(image, stateKey, encodeState({ kind: 'clean', v: 1, head: snap })).catch(() => {});
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
