import type { CephPort } from '@rbdferry/core/ceph/port.js';
import type { StartRestoreRequest } from '@rbdferry/core/gen/rbdferry/v1/control.js';
import type { BackupId } from '@rbdferry/core/model/backup-id.js';
import type { Place } from '../choose-receiver.js';
import type { JobStore } from '../jobs/job-store.js';
import type { ReceiverClient } from '../receiver-client/receiver-client.js';
import { withReceiver } from '../receiver-client/with-receiver.js';
import { chooseBackup, type Wanted } from '../restore/choose-backup.js';
import type { RestoreJobRequest } from '../restore/restore-jobs.js';
import { askedFor, placeOf, restoreRequestOf, wantedOf } from '../restore/wire.js';

export interface LookUpDeps {
  readonly ceph: Pick<CephPort, 'info' | 'fsid'>;
  readonly connect: (receiver: string, options: { signal: AbortSignal }) => Promise<ReceiverClient>;
  readonly signal: AbortSignal;
}

interface Deps extends LookUpDeps {
  readonly jobs: Pick<JobStore, 'byIdempotencyKey'>;
  readonly choose: (named: Place) => Place;
  readonly key: string | null;
}

/**
 * What a job is to restore. A short id, or an image, is looked up here and now, so that the job has the whole id of one backup from its
 * beginning, through all its attempts, whatever comes into the store meanwhile.
 *
 * @throws what `wantedOf`, `placeOf` and `chooseBackup` throw, and what connecting throws
 */
export const restoreRequestFor = async (request: StartRestoreRequest, deps: Deps): Promise<RestoreJobRequest> => {
  const wanted = wantedOf(request);
  const place = placeOf(wanted, request, deps.choose);
  // What else is wrong with the request is told before anybody is asked.
  const asId = (backupId: BackupId) => restoreRequestOf(request, { wanted, place, backupId });
  asId('' as BackupId);
  return asId(earlierAnswer(wanted, deps) ?? (await lookUp(wanted, place, deps)));
};

/** Where a whole id is named nobody is asked. */
export const lookUp = async (wanted: Wanted, { receiver, store }: Place, deps: LookUpDeps): Promise<BackupId> => {
  if (wanted.kind === 'backup' && wanted.named.kind === 'whole') return wanted.named.id;
  const { ceph, signal } = deps;
  return withReceiver(deps.connect(receiver, { signal }), (receiver) =>
    chooseBackup(wanted, store, { ceph, receiver, signal }),
  );
};

/** The same request with the same key is the same job, though the newest backup may be another one by now. */
const earlierAnswer = (wanted: Wanted, { jobs, key }: Deps): BackupId | undefined => {
  const asked = askedFor(wanted);
  const known = asked === null || key === null ? undefined : jobs.byIdempotencyKey(key)?.request;
  return known !== undefined && isRestore(known) && known.asked === asked ? known.backupId : undefined;
};

const isRestore = (request: { readonly kind: string }): request is RestoreJobRequest => request.kind === 'restore';
