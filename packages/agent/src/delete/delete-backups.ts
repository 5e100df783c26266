import { randomUUID } from 'node:crypto';
import type { CephPort } from '@rbdferry/core/ceph/port.js';
import { throwIfAborted, toFerryError, type FerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { BackupId } from '@rbdferry/core/model/backup-id.js';
import type { Chain } from '@rbdferry/core/model/chain.js';
import type { Decision } from '@rbdferry/core/model/retention/decision.js';
import type { KeptBackup } from '@rbdferry/core/wire/kept-backup.js';
import type { UnreadableChain } from '@rbdferry/core/wire/unreadable-chain.js';
import { requireOnSource } from '../backup/require-on-source.js';
import type { LooseEnds } from '../jobs/loose-ends.js';
import type { Gone, ReceiverClient } from '../receiver-client/receiver-client.js';
import { decisionsOf, idsThatGo, staysInSpite } from './decisions.js';
import { isRefusal, removeAtReceiver } from './deletion.js';
import type { DeletionEnd } from './deletion-end.js';
import { forecast } from './forecast.js';
import { lookAtSources, type SourcesSeen } from './look-at-sources.js';
import { policyUsed, type PolicyUsed } from './policy-used.js';
import { imagesWithoutBackups, placesOf, type Selection } from './selection.js';
import { describeSnapshot, nextBackups, removeSourceSnapshots, snapshotsOf } from './source-snapshots.js';
import { stepsOf, type ChainSteps, type Step } from './steps.js';

export type DeleteEvent =
  | {
      readonly kind: 'deleted';
      readonly id: BackupId;
      /** When the trash lets go of its chain's image; null when it is gone for good. */
      readonly trashedUntil: Date | null;
    }
  /** It was to go and stays, as a backup like any other. */
  | ({ readonly kind: 'kept' } & KeptBackup)
  | { readonly kind: 'note'; readonly text: string }
  /** Of a policy that explains itself: these come before anything goes. */
  | { readonly kind: 'policy'; readonly used: PolicyUsed }
  | { readonly kind: 'decided'; readonly decision: Decision };

export interface DeleteDeps {
  readonly ceph: CephPort;
  readonly receiver: Pick<ReceiverClient, 'name' | 'chains' | 'policies' | 'deleteBackup' | 'deleteChain'>;
  readonly looseEnds: Pick<LooseEnds, 'begin'>;
  readonly dryRun: boolean;
  /** Aborted when the asker goes away. What is under way then is finished, and nothing more is begun. */
  readonly signal: AbortSignal;
  /** By the receiver's clock, in milliseconds since 1970. */
  readonly now: () => number;
}

/**
 * Removes backups at the receiver, then the source snapshots that belonged to them; says what that means for the next backup. What cannot
 * go is told and hinders nothing else. @throws the first reason why something stays, when all else is done
 */
export async function* deleteBackups(
  selection: Selection,
  deps: DeleteDeps,
): AsyncGenerator<DeleteEvent, void, undefined> {
  const used =
    selection.kind === 'policy'
      ? policyUsed(selection.policy, selection.store, deps.receiver.policies.get(selection.store))
      : null;
  const unreadable: UnreadableChain[] = [];
  const before = await chainsTouched(selection, unreadable, deps);
  if (selection.kind === 'policy' && before.length === 0 && unreadable[0] !== undefined) throw unreadable[0].error;
  for (const { store, name, error } of unreadable) {
    yield note(`${name === '' ? 'a chain' : name} in store ${store} is left out: ${error.message}`);
  }
  for (const { image, store } of imagesWithoutBackups(selection, before)) {
    await requireOnSource(image, { ...deps, store });
  }
  const { ids, decided, sources: seen } = await whatGoes(selection, used, { ...deps, before });
  yield* decided;
  const plan = stepsOf(selection, before, ids);
  const touched = plan.flatMap(({ chain }) => chain ?? []);
  const sources = seen ?? (await lookAtSources(touched, before, deps));
  const gone = new Set<BackupId>();
  let failure: FerryError | null = null;
  for await (const event of deps.dryRun ? foretell(plan, deps) : carryOutAll(plan, sources, deps)) {
    if (event.kind === 'deleted') gone.add(event.id);
    if (event.kind === 'failed') failure ??= event.error;
    else yield event;
    if (event.kind === 'kept') failure ??= event.reason;
  }
  if (gone.size > 0) for (const text of [...sources.problems, ...nextBackups(before, gone, sources)]) yield note(text);
  if (failure !== null) throw failure;
}

/** What a selection names, or what a policy lets go, and what is to be told of that. */
const whatGoes = async (
  selection: Selection,
  used: PolicyUsed | null,
  { before, ...deps }: DeleteDeps & { readonly before: readonly Chain[] },
): Promise<{ ids: readonly BackupId[]; decided: readonly DeleteEvent[]; sources: SourcesSeen | null }> => {
  if (selection.kind !== 'policy' || used === null) {
    return { ids: selection.kind === 'ids' ? [...new Set(selection.ids)] : [], decided: [], sources: null };
  }
  const { decisions, sources } = await decisionsOf(selection, used.policy, before, deps);
  const decided: DeleteEvent[] = selection.policy.explain
    ? [{ kind: 'policy', used }, ...decisions.map((decision) => ({ kind: 'decided' as const, decision }))]
    : staysInSpite(decisions).map(note);
  return { ids: idsThatGo(decisions), decided, sources };
};

type StepEvent = DeleteEvent | { readonly kind: 'failed'; readonly error: FerryError };

const note = (text: string): DeleteEvent => ({ kind: 'note', text });

/** After a failure that is no refusal the next step would get no answer either. */
const isHopeless = (event: StepEvent): boolean => event.kind === 'failed' && !isRefusal(event.error);

/** What the steps would come to. */
async function* foretell(plan: readonly ChainSteps[], deps: DeleteDeps): AsyncGenerator<StepEvent, void, undefined> {
  for await (const { step, outcome } of forecast(plan, deps.receiver)) {
    throwIfAborted(deps.signal);
    if (outcome.kind === 'goes') yield* told(outcome.gone, deps);
    else {
      const event = refused(step, outcome.error);
      yield event;
      if (isHopeless(event)) return;
    }
  }
}

async function* carryOutAll(
  plan: readonly ChainSteps[],
  sources: SourcesSeen,
  deps: DeleteDeps,
): AsyncGenerator<StepEvent, void, undefined> {
  for (const step of plan.flatMap(({ steps }) => steps)) {
    throwIfAborted(deps.signal);
    let goesOn = true;
    for await (const event of carryOut(step, sources, deps)) {
      yield event;
      if (isHopeless(event)) goesOn = false;
    }
    if (!goesOn) return;
  }
}

/**
 * Written down before it is begun, and struck out when it is finished on both sides.
 *
 * If we die here, or hear nothing of the receiver any more: the record is finished by the caretaker, on both sides.
 */
async function* carryOut(
  step: Step,
  sources: SourcesSeen,
  deps: DeleteDeps,
): AsyncGenerator<StepEvent, void, undefined> {
  const { receiver, looseEnds, ceph } = deps;
  const { store, chain, ids } = step;
  const snapshots = snapshotsOf(step.backups, store, sources);
  const end: DeletionEnd = { kind: 'deletion', receiver: receiver.name, store, chain, ids, snapshots };
  const record = looseEnds.begin(`deletion ${randomUUID()}`, end);
  try {
    const gone = await removeAtReceiver(step, receiver, false);
    yield* told(gone, deps);
    yield* retireAll(
      ceph,
      snapshots.filter(({ backupId }) => gone.ids.includes(backupId)),
      () => {
        record.close();
      },
    );
  } catch (thrown) {
    const error = toFerryError(thrown);
    if (isRefusal(error)) record.close();
    else yield note('the agent finds out what became of it, and finishes it');
    yield refused(step, error);
  } finally {
    record.letGo();
  }
}

const refused = ({ ids }: Step, error: FerryError): StepEvent =>
  error.code === 'BACKUP_IN_USE' || error.code === 'BACKUP_HELD' || error.code === 'IMAGE_BUSY'
    ? { kind: 'kept', id: ids[0] ?? ('' as BackupId), reason: error }
    : { kind: 'failed', error };

/** Removes source snapshots and then strikes the deletion out. What cannot be removed now leaves the record standing. */
async function* retireAll(
  ceph: CephPort,
  snapshots: DeletionEnd['snapshots'],
  close: () => void,
): AsyncGenerator<DeleteEvent, void, undefined> {
  try {
    await removeSourceSnapshots(ceph, snapshots);
    close();
  } catch (thrown) {
    const { code, message } = toFerryError(thrown);
    const names = snapshots.map(describeSnapshot).join(', ');
    yield note(`${names} could not be removed yet (${code}: ${message}); the agent tries again`);
  }
}

function* told({ ids, kept, trashedUntil }: Gone, { dryRun }: DeleteDeps): Generator<DeleteEvent, void, undefined> {
  for (const id of ids) yield { kind: 'deleted', id, trashedUntil };
  for (const each of kept) yield { kind: 'kept', ...each };
  if (trashedUntil === null) return;
  const chain = ids[0]?.slice(0, ids[0].lastIndexOf('@')) ?? '';
  const time = `${trashedUntil.toISOString().slice(0, 19)}Z`;
  yield note(`the image ${chain} ${dryRun ? 'would be' : 'is'} in the trash of the backup cluster until ${time}`);
}

/** The chains that may be touched, as they are before. One that holds backups of several images is found by each of their names. */
const chainsTouched = async (
  selection: Selection,
  unreadable: UnreadableChain[],
  { receiver, signal }: DeleteDeps,
): Promise<Chain[]> => {
  const chains = new Map<string, Chain>();
  const onUnreadable = (chain: UnreadableChain) => {
    unreadable.push(chain);
  };
  for (const { store, image } of placesOf(selection)) {
    for await (const chain of receiver.chains(store, image, { signal, onUnreadable })) {
      chains.set(`${chain.store}/${chain.name}`, chain);
    }
  }
  return [...chains.values()];
};
