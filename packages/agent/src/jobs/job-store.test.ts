import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from '@photostructure/sqlite';
import { expect, it } from 'vitest';
import { JobStore } from './job-store.js';
import type { Job } from './job.js';

it('a job store of the release before is brought forward, with its jobs', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'rbdferry-store-'));
  try {
    const job: Job = {
      id: 'k3v9x2m7qa',
      request: { kind: 'backup', receiver: 'dr', store: 'main' },
      state: { kind: 'queued' },
      createdAtMs: 5,
      image: 'rbd/vm',
      backupId: null,
      backupKind: null,
    };
    const before = new JobStore(directory);
    before.add(job, null);
    before.close();
    const old = new DatabaseSync(join(directory, 'jobs.sqlite'));
    old.exec(`DROP INDEX job_by_parent; ALTER TABLE job DROP COLUMN parent; ALTER TABLE job DROP COLUMN spread_ms;
      PRAGMA user_version = 1;`);
    old.close();
    const now = new JobStore(directory);
    expect(now.list({ limit: 10 })).toEqual([job]);
    now.add({ ...job, id: 'child', request: { ...job.request, parent: job.id } }, null);
    now.saveSpread(job.id, 7);
    expect(now.childCounts(job.id)).toMatchObject({ total: 1, committed: 0, spreadMs: 7 });
    expect(now.list({ withoutChildren: true, limit: 10 }).map(({ id }) => id)).toEqual([job.id]);
    now.close();
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
});
