import { FerryError, toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import { withAgent } from '../agent.js';
import type { AgentClient, DeleteRequest } from '../client.js';
import { noteUnreadable } from '../listing-notes.js';
import { note, printLine, printLineOnStderr } from '../output.js';
import { runJob } from '../run-job.js';
import type { ChainView } from '../view/chain.js';
import type { DeletionEvent } from '../view/deletion.js';
import { hasEnded } from '../view/job.js';
import { totalsOf, wholeMegabytes, type ChainUsageView } from '../view/usage.js';
import { chainLines, logLine, moment } from './old-dump.js';
import type { OldOperation } from './operation.js';
import { jobsOf, queryPercentage } from './query.js';
import { receiverFor } from './receiver.js';
import { reword } from './reword.js';

export interface OldContext {
  /** `-u` */
  readonly user: string | undefined;
  /** `-d` */
  readonly destination: string | undefined;
}

/**
 * Runs an operation of the old tool: on stdout what that one wrote there, on stderr the rest.
 *
 * @returns the exit status
 */
export const runOperation = (
  program: Parameters<typeof withAgent>[0],
  operation: OldOperation,
  { user, destination }: OldContext,
): Promise<number> => {
  if (user !== undefined) note(`-u ${user} is ignored: there is no ssh any more`);
  return withAgent(program, (agent) => perform(operation, { agent, receiver: () => receiverFor(agent, destination) }));
};

interface Doing {
  readonly agent: AgentClient;
  /** Asked only by operations that need one. */
  readonly receiver: () => Promise<string | undefined>;
}

type Of<Kind extends OldOperation['kind']> = Extract<OldOperation, { kind: Kind }>;

const perform = async (operation: OldOperation, doing: Doing): Promise<number> => {
  switch (operation.kind) {
    case 'backup':
      return backUp(operation, doing);
    case 'restore':
      return restore(operation, doing);
    case 'delete':
      await remove({ $case: 'ids', value: { ids: [operation.backupId] } }, {}, doing);
      return 0;
    case 'prune':
      await prune(operation, doing);
      return 0;
    case 'dump':
      await dump(operation, doing);
      return 0;
    case 'du':
    case 'du_snap':
      await printUsage(operation, doing);
      return 0;
    case 'query_backup':
    case 'query_restore':
      await printLine(String(await queryPercentage(doing.agent, { ...queried(operation), receiver: doing.receiver })));
      return 0;
    case 'cancel':
      await cancel(operation, doing);
      return 0;
    case 'delete_local_snaps':
      await deleteLocalSnaps(operation, doing);
      return 0;
  }
};

const backUp = async (operation: Of<'backup'>, doing: Doing): Promise<number> => {
  const { agent } = doing;
  const { image, store, mode, async } = operation;
  const receiver = await doing.receiver();
  let made: string | null = null;
  const start = () => agent.startBackup({ image, store, mode, receiver });
  const onProduct = (id: string) => {
    made = id;
  };
  const status = await runJob(agent, start, { json: false, async: async && 'product', reword, onProduct });
  if (status === 0 && mode === 'full' && operation.keepFull !== null) await pruneAfter(operation, made, doing);
  return status;
};

/** The backup is made, and its id told: what goes wrong here is no failure of it, as in the old tool. */
const pruneAfter = async (operation: Of<'backup'>, made: string | null, doing: Doing): Promise<void> => {
  if (operation.async) note('-n: chains are counted before this backup is done; the next one counts it too');
  try {
    // What was just made stays, whatever the receiver's clock says of its age.
    await prune({ ...operation, keepIds: made === null ? [] : [made] }, doing);
  } catch (thrown) {
    const { code, message } = toFerryError(thrown);
    note(`warning: older chains could not be deleted: ${code}: ${message}`);
  }
};

const restore = async ({ image, backupId, async }: Of<'restore'>, doing: Doing): Promise<number> => {
  const { agent } = doing;
  const receiver = await doing.receiver();
  const start = () => agent.startRestore({ backupId, to: image, replace: false, receiver });
  return runJob(agent, start, { json: false, async: async && 'product', product: 'untold', reword });
};

const prune = async (
  {
    image,
    store,
    keepFull,
    keepIds = [],
  }: Pick<Of<'prune'>, 'image' | 'store' | 'keepFull'> & { readonly keepIds?: string[] },
  doing: Doing,
): Promise<void> => {
  if (keepFull === null) {
    note('-n 0: all chains are kept');
    return;
  }
  const policy = {
    images: [image],
    allImages: false,
    olderThanMs: undefined,
    keepLast: undefined,
    keepFull,
    keepIds,
    rules: undefined,
  };
  await remove({ $case: 'policy', value: policy }, { store }, doing);
};

const remove = async (
  selection: DeleteRequest['selection'],
  place: { readonly store?: string },
  { agent, receiver }: Doing,
): Promise<void> => {
  const request = { selection, dryRun: false, receiver: await receiver(), ...place };
  for await (const event of agent.deleteBackups(request)) {
    note(lineOf(event));
  }
};

const lineOf = (event: DeletionEvent): string => {
  switch (event.kind) {
    case 'deleted':
      return `deleted ${event.id}`;
    case 'kept':
      return `kept ${event.reason.message}`;
    case 'note':
      return event.text;
    case 'policy':
      return event.policy.text;
    case 'decided':
      return `${event.decision.id} ${event.decision.text}`;
  }
};

const dump = async ({ image, store }: Of<'dump' | 'du'>, { agent, receiver }: Doing): Promise<void> => {
  const [pool, name] = [image.slice(0, image.lastIndexOf('/')), image.slice(image.lastIndexOf('/') + 1)];
  const log = (text: string) => printLineOnStderr(logLine(text, new Date()));
  await log(`dump pool ${pool} image ${name} mode None, begin at ${moment(new Date())}.`);
  const chains: ChainView[] = [];
  for await (const chain of agent.listBackups({ image, store, receiver: await receiver() })) {
    if (chain.error !== null) noteUnreadable({ ...chain, error: chain.error });
    chains.push(chain);
  }
  const readable = chains.filter(({ error }) => error === null);
  if (readable.length === 0) throw noBackups(image, store);
  let number = 1;
  for (const chain of readable) {
    for (const line of chainLines(chain, number)) await log(line);
    number += chain.backups.length;
  }
  await log(`dump pool ${pool} image ${name} mode None, rc 0, end at ${moment(new Date())}.`);
};

const printUsage = async (operation: Of<'dump' | 'du' | 'du_snap'>, { agent, receiver }: Doing): Promise<void> => {
  const chains: ChainUsageView[] = [];
  for await (const chain of agent.usage({ ...operation, receiver: await receiver(), onUnreadable: noteUnreadable }))
    chains.push(chain);
  if (chains.length === 0 && operation.kind !== 'du_snap') throw noBackups(operation.image, operation.store);
  await printLine(String(wholeMegabytes(totalsOf(chains).usedBytes)));
};

const noBackups = (image: string, store: string): FerryError =>
  new FerryError('BACKUP_NOT_FOUND', `there is no backup of ${image} in ${store}`);

const queried = ({ kind, backupId, image }: Of<'query_backup' | 'query_restore' | 'cancel'>) => ({
  backupId,
  image,
  kind: kind === 'query_backup' ? ('backup' as const) : ('restore' as const),
});

/** Ends the backup or restore of this id that has not ended; the newest, should there be several. */
const cancel = async ({ backupId, image }: Of<'query_backup' | 'query_restore' | 'cancel'>, { agent }: Doing) => {
  const jobs = await jobsOf(agent, { backupId, image });
  const job = jobs.find((each) => !hasEnded(each)) ?? jobs[0];
  if (job === undefined) throw new FerryError('JOB_NOT_FOUND', `the agent knows of no job of ${backupId}`);
  const ended = await agent.cancelJob(job.id);
  note(ended.state === 'cancelled' ? `job ${job.id} is cancelled` : `job ${job.id} has ended before: ${ended.state}`);
};

const deleteLocalSnaps = async ({ image, store }: Of<'delete_local_snaps'>, { agent, receiver }: Doing) => {
  const snapshots = await agent.deleteSourceSnapshots({ image, store, dryRun: false, receiver: await receiver() });
  for (const snapshot of snapshots) note(`deleted ${image}@${snapshot}`);
  note(
    snapshots.length === 0 ? `${image} has no snapshot of rbdferry` : `the next backup of ${image} must be a full one`,
  );
};
