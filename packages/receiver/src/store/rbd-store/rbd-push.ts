import type { ByteSink } from '@rbdferry/core/ceph/port.js';
import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { endRecord } from '@rbdferry/core/transfer/incoming-stream.js';
import type { RbdLife } from '@rbdferry/core/transfer/life.js';
import { withinStallTime } from '@rbdferry/core/transfer/stall.js';
import { formatBackupId, type ChainName } from '@rbdferry/core/model/backup-id.js';
import type { Backup } from '@rbdferry/core/model/chain.js';
import type { DriverPush, NewBackup } from '../driver.js';
import type { PushIntent } from '../port.js';
import { backupKey, encodeFacts, encodeState, fitSource, stateKey } from './backup-meta.js';
import type { StoreContext } from './context.js';

/**
 * A transfer into an RBD image whose state says `receiving` already.
 *
 * What is left when the receiver dies: before the end record was written, neither a snapshot nor facts. Before the facts were written, maybe a
 * snapshot without facts, which is no backup and is removed. After that the backup is there, and the state still says `receiving`: whoever
 * looks next finds the backup and puts the state right.
 */
export class RbdPush implements DriverPush {
  readonly #context: StoreContext;
  readonly #chain: ChainName;
  readonly #intent: PushIntent;
  #importing: { readonly sink: ByteSink; readonly life: RbdLife } | null = null;

  constructor(context: StoreContext, chain: ChainName, intent: PushIntent) {
    this.#context = context;
    this.#chain = chain;
    this.#intent = intent;
  }

  begin(life: RbdLife): void {
    if (this.#importing !== null) return;
    const { ceph, reader } = this.#context;
    reader.forgetSnapshots(this.#chain);
    this.#importing = { sink: ceph.importDiff(reader.image(this.#chain), { onAlive: life.sign }), life };
  }

  async write(chunk: Uint8Array): Promise<void> {
    await this.#step((sink) => sink.write(chunk), 'took no data');
  }

  /** `import-diff` makes the snapshot at the end record and not before. */
  async seal(): Promise<void> {
    await this.write(endRecord);
    await this.#step((sink) => sink.finish(), 'did not end');
    await this.#lookAtSnapshot();
  }

  /**
   * The facts are written only when `import-diff` has ended. While it runs it holds the image's exclusive lock, and a second command that
   * wants to change the image has to ask it to do so. When the lock changes hands just then, the second command may never be told that its
   * change was made, and waits for ever (ceph/ceph pull 49835). It happened to 1 of 308 commits with Ceph 16.2.15, and to none of 400 that
   * ran one command after the other.
   */
  async commit(backup: NewBackup): Promise<Backup> {
    const { reader } = this.#context;
    const { snap, base } = this.#intent;
    const kept = { ...backup, source: fitSource(backup.source) };
    await reader.setMetadata(this.#chain, backupKey(snap), encodeFacts(kept, base?.snap ?? null));
    reader.committed(kept.id);
    return kept;
  }

  /** Says that the head equals the new backup. */
  async conclude(): Promise<void> {
    const { reader, name: store } = this.#context;
    const { snap } = this.#intent;
    const chain = this.#chain;
    await reader.setMetadata(chain, stateKey, encodeState({ kind: 'clean', v: 1, head: snap }));
    reader.settled(formatBackupId({ store, chain, snap }));
  }

  async abort(): Promise<void> {
    await this.#importing?.sink.abort();
  }

  async #step(step: (sink: ByteSink) => Promise<void>, complaint: string): Promise<void> {
    if (this.#importing === null) throw new FerryError('INTERNAL', `the push into ${this.#chain} has not begun`);
    const { sink, life } = this.#importing;
    const what = `rbd import-diff into ${this.#chain} ${complaint}`;
    await withinStallTime(step(sink), { ms: this.#context.stallMs(), what, life });
  }

  /** Exit 0 proves nothing: the snapshot must be there, of an image as large as the source. @throws VERIFY_FAILED */
  async #lookAtSnapshot(): Promise<void> {
    const { ceph, reader } = this.#context;
    const { snap, source } = this.#intent;
    const snapshots = await ceph.snapshots(reader.image(this.#chain));
    const { sizeBytes } = source.layout;
    const made = snapshots.find(({ name }) => name === snap);
    if (made?.sizeBytes === sizeBytes && made === snapshots.at(-1)) {
      reader.saw(this.#chain, snapshots);
      return;
    }
    const what = made === undefined ? 'no such snapshot' : `one of ${made.sizeBytes} bytes`;
    throw new FerryError(
      'VERIFY_FAILED',
      `rbd import-diff made ${what} in ${this.#chain}; expected ${snap} of ${sizeBytes} bytes`,
    );
  }
}
