import { toFerryError, type FerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { AgentClient, DeleteRequest, Place } from './client.js';
import { note, printLine } from './output.js';
import { toJson } from './render/json.js';
import type { JobError } from './view/job.js';

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
    for await (const event of agent.deleteBackups({ selection, dryRun, ...place })) {
      if (event.kind === 'deleted') await report.deleted(event.id, event.trashedUntil);
      else if (event.kind === 'kept') report.kept(event.id, event.reason);
      else report.note(event.text);
    }
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

  constructor(options: DeletionOptions) {
    this.#options = options;
  }

  async deleted(what: string, trashedUntil: Date | null = null): Promise<void> {
    this.#deleted.push(what);
    if (trashedUntil !== null) this.#trashed.push({ id: what, until: trashedUntil });
    if (!this.#options.json) await printLine(what);
  }

  kept(id: string, reason: FerryError): void {
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
    if (this.#deleted.length === 0) this.note('nothing to delete');
    else if (this.#options.dryRun && !this.#options.json) note('nothing was deleted: this was a dry run');
    await this.#close(null);
  }

  async #close(error: FerryError | null): Promise<void> {
    if (!this.#options.json) return;
    const { dryRun } = this.#options;
    const done = { deleted: this.#deleted, trashed: this.#trashed, kept: this.#kept, notes: this.#notes };
    await printLine(toJson({ dryRun, ...done, error: error && errorJson(error) }));
  }
}

const errorJson = ({ code, message, hint }: FerryError): JobError => ({ code, message, hint });
