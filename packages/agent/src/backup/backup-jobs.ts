import { ifExists } from '@rbdferry/core/ceph/if-exists.js';
import { orThrow } from '@rbdferry/core/errors/parsed.js';
import { parseImageSpec } from '@rbdferry/core/model/image-spec.js';
import { newestCommon, type BackupMode } from '@rbdferry/core/model/planner.js';
import { interrupted } from '../jobs/interrupted.js';
import type { JobKind, RecoverDeps } from '../jobs/job-kind.js';
import type { Job, JobRequest } from '../jobs/job.js';
import type { ReceiverClient } from '../receiver-client/receiver-client.js';
import { withReceiver } from '../receiver-client/with-receiver.js';
import { runBackup, type Begun } from './backup.js';
import { findBackup } from './find-backup.js';
import { chainsOf, lookAtSource } from './look-at-source.js';
import { ownSnapshots } from './own-snapshots.js';
import { retire } from './retire.js';

export interface BackupJobRequest extends JobRequest {
  readonly kind: 'backup';
  readonly image: string;
  readonly mode: BackupMode;
}

/** Backups. The receiver is the truth for what became of one. */
export const backupJobs: JobKind<BackupJobRequest> = {
  priority: 1,
  transfers: true,
  reads: false,
  image: ({ image }) => image,
  backupId: () => null,
  transferKind: ({ backupKind }) => backupKind ?? 'full',

  run({ image, mode, store }, context) {
    const request = { image: orThrow(parseImageSpec(image), 'INVALID_IMAGE_SPEC'), mode, store };
    // A batch begins what this table's backups go on with.
    return runBackup(request, context.begun as (() => Promise<Begun>) | null, context);
  },

  async recover(job, settled, deps) {
    const id = job.backupId;
    if (id === null) return interrupted(job);
    return withReceiver(deps.connect(job.request.receiver), async (receiver) => {
      const known = settled?.kind === 'completed' ? settled.backup : null;
      const backup = known ?? (await findBackup(receiver, id));
      if (backup === null) return interrupted(job);
      const warnings = await retireAllButNewest(job, receiver, deps);
      return { kind: 'committed', streamBytes: Number(backup.streamBytes), warnings };
    });
  },

  async commitAfterAll(job, _, deps) {
    const retired = await withReceiver(deps.connect(job.request.receiver), (receiver) =>
      retireAllButNewest(job, receiver, deps),
    );
    return ['the receiver was lost at the commit; it had committed the backup, as was found out later', ...retired];
  },
};

/** The last step of a backup that was committed but not finished. Answers warnings. */
const retireAllButNewest = async (
  { image, request: { store } }: Job<BackupJobRequest>,
  receiver: ReceiverClient,
  { ceph, jobs, unlessBusy }: RecoverDeps,
): Promise<string[]> => {
  const warnings: string[] = [];
  await unlessBusy(image, async () => {
    const spec = orThrow(parseImageSpec(image), 'INVALID_IMAGE_SPEC');
    const source = await ifExists(lookAtSource(ceph, spec, {}));
    if (source === null) return;
    const chains = await chainsOf(source, store, receiver, {});
    const newest = newestCommon(source.view, chains);
    if (newest === null) return;
    const ours = ownSnapshots(source.view, chains, { store, receiver: receiver.name, jobs });
    const older = ours.filter((snap) => snap !== newest.snap);
    await retire(ceph, spec, older, (warning) => warnings.push(warning));
  });
  return warnings;
};
