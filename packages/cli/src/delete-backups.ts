import { toFerryError, type FerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { AgentClient, DeleteRequest, Place } from './client.js';
import { note, printLine } from './output.js';
import { toJson } from './render/json.js';
import type { DecisionView, DeletionEvent, PolicyView } from './view/deletion.js';
import type { JobError } from './view/job.js';
import { isReaderGone, printDone } from './write-output.js';

export interface DeletionOptions {
  readonly place: Place;
  readonly dryRun: boolean;
  readonly json: boolean;
}

/**
 * Deletes backups and prints their ids as they go; with `json` one object at the end, also when it breaks off: what is gone is
 * gone.
 */
export const printDeletion = async (
  agent: Pick<AgentClient, 'deleteBackups'>,
  selection: DeleteRequest['selection'],
  options: DeletionOptions,
): Promise<void> => {
  const { place, dryRun } = options;
  const report = new DeletionReport(options);
  await report.whole(async () => {
    for await (const event of agent.deleteBackups({ selection, dryRun, ...place })) await report.saw(event);
  });
};

/** The same with a policy that explains itself: prints a line for each backup, before anything goes. */
export const printPrune = async (
  agent: Pick<AgentClient, 'deleteBackups'>,
  selection: DeleteRequest['selection'],
  options: DeletionOptions,
): Promise<void> => {
  const { place, dryRun } = options;
  const report = new DeletionReport(options, { explains: true });
  await report.whole(async () => {
    for await (const event of agent.deleteBackups({ selection, dryRun, ...place })) await report.saw(event);
  });
};

/** The same for the snapshots that the next increments would build on: `POOL/IMAGE@SNAPSHOT`. */
export const printSourceSnapshots = async (
  agent: Pick<AgentClient, 'deleteSourceSnapshots'>,
  images: readonly string[],
  options: DeletionOptions,
): Promise<void> => {
  const { place, dryRun } = options;
  const report = new DeletionReport(options);
  await report.whole(async () => {
    for (const image of images) {
      const snapshots = await agent.deleteSourceSnapshots({ image, dryRun, ...place });
      for (const snapshot of snapshots) await report.deleted(`${image}@${snapshot}`);
      if (snapshots.length > 0) report.note(`the next backup of ${image} to this store will be a full one`);
    }
  });
};

class DeletionReport {
  readonly #deleted: string[] = [];
  readonly #trashed: { id: string; until: Date }[] = [];
  readonly #kept: { id: string; reason: JobError }[] = [];
  readonly #notes: string[] = [];
  readonly #options: DeletionOptions;
  /** Why ids are no longer printed. The deletion goes on: what is gone must be told, not half of it broken off. */
  #unwritten: FerryError | undefined;

  /** What is to become of each backup; null for a deletion that does not say it. */
  readonly #explained: { policy: PolicyView | null; readonly decisions: DecisionView[] } | null;

  constructor(options: DeletionOptions, { explains = false } = {}) {
    this.#options = options;
    this.#explained = explains ? { policy: null, decisions: [] } : null;
  }

  async saw(event: DeletionEvent): Promise<void> {
    switch (event.kind) {
      case 'deleted':
        await this.deleted(event.id, event.trashedUntil);
        return;
      case 'kept':
        this.#keeps(event.id, event.reason);
        return;
      case 'note':
        this.note(event.text);
        return;
      case 'policy':
        if (this.#explained !== null) this.#explained.policy = event.policy;
        if (!this.#options.json)
          note(`rules ${event.policy.from === 'store' ? 'of the store: ' : ''}${event.policy.text}`);
        return;
      case 'decided':
        this.#explained?.decisions.push(event.decision);
        if (!this.#options.json) await this.#print(`${event.decision.id}  ${event.decision.text}`, []);
    }
  }

  async deleted(what: string, trashedUntil: Date | null = null): Promise<void> {
    this.#deleted.push(what);
    if (trashedUntil !== null) this.#trashed.push({ id: what, until: trashedUntil });
    if (this.#options.json) return;
    if (this.#explained === null) await this.#print(what, [what]);
    // What would go is told already.
    else if (!this.#options.dryRun) await this.#print(`deleted ${what}`, [what]);
  }

  #keeps(id: string, reason: FerryError): void {
    this.#kept.push({ id, reason: errorJson(reason) });
    if (!this.#options.json) note(`kept ${reason.message}`);
  }

  note(text: string): void {
    this.#notes.push(text);
    if (!this.#options.json) note(text);
  }

  /** Runs the deletion and closes the report, however it ends. */
  async whole(step: () => Promise<void>): Promise<void> {
    try {
      await step();
    } catch (thrown) {
      const error = toFerryError(thrown);
      await this.#close(error);
      throw error;
    }
    this.#sumUp();
    if (this.#deleted.length === 0) this.note('nothing to delete');
    else if (this.#options.dryRun && !this.#options.json) note('nothing was deleted: this was a dry run');
    await this.#close(null);
    if (this.#unwritten !== undefined) await printDone(this.#doneText(), Promise.reject(this.#unwritten));
  }

  #sumUp(): void {
    if (this.#explained === null || this.#options.json) return;
    const gone = this.#deleted.length;
    const stay = this.#explained.decisions.length - gone;
    note(
      `${gone} ${this.#options.dryRun ? 'would go' : 'went'}, ${stay} ${this.#options.dryRun ? 'would stay' : 'stay'}`,
    );
  }

  /** @param ids told on stderr when the text cannot be written */
  async #print(text: string, ids: readonly string[]): Promise<void> {
    this.#unwritten ??= await printLine(text).then(() => undefined, toFerryError);
    if (this.#unwritten === undefined || isReaderGone(this.#unwritten)) return;
    for (const id of ids) note(this.#options.dryRun ? id : `deleted ${id}`);
  }

  #doneText(): string {
    return this.#options.dryRun ? 'nothing was deleted' : 'the deletion was carried out; what is gone is told above';
  }

  async #close(error: FerryError | null): Promise<void> {
    if (!this.#options.json) return;
    const { dryRun } = this.#options;
    const done = { deleted: this.#deleted, trashed: this.#trashed, kept: this.#kept, notes: this.#notes };
    await this.#print(toJson({ dryRun, ...this.#explained, ...done, error: error && errorJson(error) }), this.#deleted);
  }
}

const errorJson = ({ code, message, hint }: FerryError): JobError => ({ code, message, hint });
