import { toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { Release } from '@rbdferry/core/lifecycle/keyed-lock.js';
import type { Logger } from '@rbdferry/core/log/logger.js';
import { formatBackupId, type BackupId } from '@rbdferry/core/model/backup-id.js';
import type { Backup } from '@rbdferry/core/model/chain.js';
import type { RbdLife } from '@rbdferry/core/transfer/life.js';
import type { DriverPush, NewBackup } from './driver.js';
import type { OpenedPush, PushIntent, StreamFacts } from './port.js';

export interface GuardedPushOptions {
  readonly push: DriverPush;
  readonly intent: PushIntent;
  readonly backupId: BackupId;
  readonly log: Logger;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Puts the chain right after a failure; never throws. */
  readonly cleanUp: () => Promise<void>;
  /** Takes over work that the sender does not wait for. It never rejects. */
  readonly background: (work: Promise<void>) => void;
  /** Everything is done that belongs to the backup. */
  readonly onConcluded: () => void;
  /** Lets go of the chain. */
  readonly release: Release;
}

/** A transfer that holds its chain until it has ended, in whichever way. */
export class GuardedPush implements OpenedPush {
  readonly backupId: BackupId;
  readonly #options: GuardedPushOptions;
  #ended = false;

  constructor(options: GuardedPushOptions) {
    this.#options = options;
    this.backupId = options.backupId;
  }

  begin(life: RbdLife): void {
    this.#options.push.begin(life);
  }

  write(chunk: Uint8Array): Promise<void> {
    return this.#options.push.write(chunk);
  }

  async commit(stream: StreamFacts): Promise<Backup> {
    const { push, now, background } = this.#options;
    try {
      await push.seal();
      const backup = await push.commit(this.#backup(stream, now()));
      this.#ended = true;
      // The backup stands: the sender need not wait for the rest.
      background(this.#conclude());
      return backup;
    } catch (thrown) {
      await this.discard();
      throw toFerryError(thrown);
    }
  }

  async discard(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    try {
      await this.#options.push.abort();
      await this.#options.cleanUp();
    } finally {
      this.#options.release();
    }
  }

  async #conclude(): Promise<void> {
    const { push, log, onConcluded, release } = this.#options;
    try {
      await push.conclude();
      onConcluded();
    } catch (thrown) {
      const error = toFerryError(thrown).message;
      log.warn({ backup: this.backupId, error }, 'the next transfer will have to look at the head first');
    } finally {
      release();
    }
  }

  #backup(stream: StreamFacts, nowMs: number): NewBackup {
    const { intent, backupId } = this.#options;
    const { source, snap, base, client } = intent;
    return {
      ...stream,
      id: backupId,
      snap,
      kind: base === null ? 'full' : 'incremental',
      source,
      sizeBytes: source.layout.sizeBytes,
      committedAtMs: nowMs,
      baseId: base === null ? null : formatBackupId(base),
      client,
      hold: null,
    };
  }
}
