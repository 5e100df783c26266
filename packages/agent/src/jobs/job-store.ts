import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from '@photostructure/sqlite';
import type { BackupId, SnapName } from '@rbdferry/core/model/backup-id.js';
import type { BackupKind } from '@rbdferry/core/model/chain.js';
import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { hasEnded, type JobState } from '@rbdferry/core/model/job-state.js';
import { z } from 'zod';
import type { Job, JobRequest, KeptLooseEnd, LooseEnd } from './job.js';

/**
 * What brings a job store from each version to the next one; a new one is of version 0. Add to the end, and never change what is there: stores
 * out there have it done already.
 */
const migrations = [
  `
  CREATE TABLE job (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    idempotency_key TEXT UNIQUE,
    request TEXT NOT NULL,
    state TEXT NOT NULL,
    ended INTEGER NOT NULL,
    image TEXT NOT NULL,
    backup_id TEXT,
    backup_kind TEXT,
    created_at_ms INTEGER NOT NULL
  );
  CREATE INDEX job_by_image ON job (image, seq);
  CREATE INDEX job_by_ended ON job (ended, seq);
  CREATE TABLE loose_end (id INTEGER PRIMARY KEY AUTOINCREMENT, job_id TEXT NOT NULL, data TEXT NOT NULL);
  `,
  `
  ALTER TABLE job ADD COLUMN parent TEXT;
  ALTER TABLE job ADD COLUMN spread_ms INTEGER;
  CREATE INDEX job_by_parent ON job (parent, seq);
  `,
];

/** Rows are written by this class only, so their JSON is checked for shape, not for content. */
const rowSchema = z.object({
  id: z.string(),
  request: z.string(),
  state: z.string(),
  image: z.string(),
  backup_id: z.string().nullable(),
  backup_kind: z.enum(['full', 'incremental']).nullable(),
  created_at_ms: z.number(),
});

const looseRowSchema = z.object({ id: z.number(), job_id: z.string(), data: z.string() });

const columns = 'id, request, state, image, backup_id, backup_kind, created_at_ms';

const countSchema = z.object({ kind: z.string(), count: z.number() });
const spreadSchema = z.object({ spread_ms: z.number().nullable() }).optional();

/** How the jobs of a batch stand. */
export interface ChildCounts {
  readonly total: number;
  readonly committed: number;
  readonly failed: number;
  readonly cancelled: number;
  /** From the first of their snapshots to the last one, in milliseconds; null while that is not known. */
  readonly spreadMs: number | null;
}

export interface JobFilter {
  readonly image?: string | undefined;
  readonly activeOnly?: boolean;
  /** Only the children of this job. */
  readonly parent?: string | undefined;
  /** Without jobs that belong to a batch. */
  readonly withoutChildren?: boolean;
  readonly limit: number;
}

/** Jobs and loose ends on disk: what is acknowledged survives a crash (WAL, synchronous=FULL). */
export class JobStore {
  // The database closes when it is garbage-collected, so it must stay referenced.
  readonly #db: InstanceType<typeof DatabaseSync>;

  /** Opens or makes `jobs.sqlite` in the directory. @throws CONFIG_INVALID */
  constructor(directory: string) {
    const path = join(directory, 'jobs.sqlite');
    try {
      mkdirSync(directory, { recursive: true, mode: 0o750 });
      this.#db = new DatabaseSync(path);
      this.#db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000;');
      this.#migrate(path);
    } catch (cause) {
      if (cause instanceof FerryError) throw cause;
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new FerryError('CONFIG_INVALID', `cannot open the job store ${JSON.stringify(path)}: ${why}`, {
        hint: 'check the `state` directory; the job store may be removed without losing a backup',
        cause,
      });
    }
  }

  close(): void {
    this.#db.close();
  }

  add(job: Job, idempotencyKey: string | null): void {
    this.#db
      .prepare(`INSERT INTO job (${columns}, ended, idempotency_key, parent) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`)
      .run(
        job.id,
        JSON.stringify(job.request),
        JSON.stringify(job.state),
        job.image,
        job.backupId,
        job.backupKind,
        job.createdAtMs,
        hasEnded(job.state) ? 1 : 0,
        idempotencyKey,
        job.request.parent ?? null,
      );
  }

  byIdempotencyKey(key: string): Job | undefined {
    return this.#one(`SELECT ${columns} FROM job WHERE idempotency_key = ?`, key);
  }

  get(id: string): Job | undefined {
    return this.#one(`SELECT ${columns} FROM job WHERE id = ?`, id);
  }

  /** Newest first. */
  list({ image, activeOnly = false, parent, withoutChildren = false, limit }: JobFilter): Job[] {
    return this.#db
      .prepare(
        `SELECT ${columns} FROM job WHERE (?1 IS NULL OR image = ?1) AND (?2 = 0 OR ended = 0)
         AND (?3 IS NULL OR parent = ?3) AND (?4 = 0 OR parent IS NULL) ORDER BY seq DESC LIMIT ?5`,
      )
      .all(image ?? null, activeOnly ? 1 : 0, parent ?? null, withoutChildren ? 1 : 0, limit)
      .map(jobOfRow);
  }

  /** The newest job of a kind that was committed, for each image and place; in order of image. */
  newestCommitted(kind: string): Job[] {
    // Of the columns without an aggregate SQLite takes those of the row that has the maximum.
    return this.#db
      .prepare(
        `SELECT ${columns}, MAX(seq) FROM job
         WHERE ended = 1 AND state ->> 'kind' = 'committed' AND request ->> 'kind' = ?
         GROUP BY image, request ->> 'receiver', request ->> 'store' ORDER BY image`,
      )
      .all(kind)
      .map(jobOfRow);
  }

  /** Which of these snapshots jobs of a kind have made, or tried to make, for this place. */
  madeSnapshots(
    by: { readonly kind: string; readonly receiver: string; readonly store: string },
    snaps: readonly SnapName[],
  ): SnapName[] {
    const find = this.#db.prepare(
      `SELECT 1 FROM job WHERE request ->> 'kind' = ? AND request ->> 'receiver' = ? AND request ->> 'store' = ?
       AND backup_id LIKE '%@' || ? LIMIT 1`,
    );
    return snaps.filter((snap) => find.get(by.kind, by.receiver, by.store, snap) !== undefined);
  }

  /** Everything that is written meanwhile, as one: after a crash there is all of it or nothing. @param write does not wait for anything */
  together(write: () => void): void {
    this.#db.exec('BEGIN');
    try {
      write();
      this.#db.exec('COMMIT');
    } catch (thrown) {
      this.#db.exec('ROLLBACK');
      throw thrown;
    }
  }

  childCounts(parent: string): ChildCounts {
    const rows = this.#db
      .prepare(`SELECT state ->> 'kind' AS kind, COUNT(*) AS count FROM job WHERE parent = ? GROUP BY 1`)
      .all(parent)
      .map((row: unknown) => countSchema.parse(row));
    const of = (kind: string) => rows.find((row) => row.kind === kind)?.count ?? 0;
    const spread = spreadSchema.parse(this.#db.prepare('SELECT spread_ms FROM job WHERE id = ?').get(parent));
    return {
      total: rows.reduce((sum, { count }) => sum + count, 0),
      committed: of('committed'),
      failed: of('failed'),
      cancelled: of('cancelled'),
      spreadMs: spread?.spread_ms ?? null,
    };
  }

  /** @param spreadMs null when it is not known any more */
  saveSpread(id: string, spreadMs: number | null): void {
    this.#db.prepare('UPDATE job SET spread_ms = ? WHERE id = ?').run(spreadMs, id);
  }

  saveState(id: string, state: JobState): void {
    this.#db
      .prepare('UPDATE job SET state = ?, ended = ? WHERE id = ?')
      .run(JSON.stringify(state), hasEnded(state) ? 1 : 0, id);
  }

  saveFacts(id: string, facts: { image: string; backupId: BackupId | null; backupKind: BackupKind | null }): void {
    this.#db
      .prepare('UPDATE job SET image = ?, backup_id = ?, backup_kind = ? WHERE id = ?')
      .run(facts.image, facts.backupId, facts.backupKind, id);
  }

  /** Forgets jobs that were made before then and have ended. */
  forget(beforeMs: number): void {
    this.#db.prepare('DELETE FROM job WHERE ended = 1 AND created_at_ms < ?').run(beforeMs);
  }

  addLooseEnd(jobId: string, end: LooseEnd): number {
    const { lastInsertRowid } = this.#db
      .prepare('INSERT INTO loose_end (job_id, data) VALUES (?, ?)')
      .run(jobId, JSON.stringify(end));
    return Number(lastInsertRowid);
  }

  updateLooseEnd(id: number, end: LooseEnd): void {
    this.#db.prepare('UPDATE loose_end SET data = ? WHERE id = ?').run(JSON.stringify(end), id);
  }

  removeLooseEnd(id: number): void {
    this.#db.prepare('DELETE FROM loose_end WHERE id = ?').run(id);
  }

  looseEnds(): KeptLooseEnd[] {
    return this.#db
      .prepare('SELECT id, job_id, data FROM loose_end ORDER BY id')
      .all()
      .map((row: unknown) => {
        const { id, job_id, data } = looseRowSchema.parse(row);
        return { id, jobId: job_id, end: JSON.parse(data) as LooseEnd };
      });
  }

  #one(sql: string, value: string): Job | undefined {
    const row = this.#db.prepare(sql).get(value);
    return row === undefined ? undefined : jobOfRow(row);
  }

  #migrate(path: string): void {
    const { user_version: version } = z
      .object({ user_version: z.number() })
      .parse(this.#db.prepare('PRAGMA user_version').get());
    if (version > migrations.length) {
      throw new FerryError(
        'CONFIG_INVALID',
        `the job store ${JSON.stringify(path)} has version ${version}, this release knows ${migrations.length}`,
        {
          hint: 'use the newer release, or remove the job store: no backup is lost with it',
        },
      );
    }
    for (const [index, sql] of migrations.entries()) {
      if (index >= version) this.#db.exec(`BEGIN; ${sql} PRAGMA user_version = ${index + 1}; COMMIT;`);
    }
  }
}

const jobOfRow = (row: unknown): Job => {
  const parsed = rowSchema.parse(row);
  return {
    id: parsed.id,
    request: JSON.parse(parsed.request) as JobRequest,
    state: JSON.parse(parsed.state) as JobState,
    image: parsed.image,
    backupId: parsed.backup_id as BackupId | null,
    backupKind: parsed.backup_kind,
    createdAtMs: parsed.created_at_ms,
  };
};
