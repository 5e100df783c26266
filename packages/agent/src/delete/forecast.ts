import { toFerryError, type FerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { Chain } from '@rbdferry/core/model/chain.js';
import { mapAhead } from '@rbdferry/core/transfer/map-ahead.js';
import type { Gone, ReceiverClient } from '../receiver-client/receiver-client.js';
import { removeAtReceiver } from './deletion.js';
import type { ChainSteps, Step } from './steps.js';

/** What a step comes to. */
export type Outcome =
  { readonly kind: 'goes'; readonly gone: Gone } | { readonly kind: 'refused'; readonly error: FerryError };

export interface Foretold {
  readonly step: Step;
  readonly outcome: Outcome;
}

type Receiver = Pick<ReceiverClient, 'deleteBackup' | 'deleteChain'>;

/** Chains asked about at the same time: each question costs the receiver a few `rbd` processes. */
const chainsAtOnce = 8;

/**
 * What each step would come to if they were carried out one after the other. The receiver is asked once for each chain, however many of
 * its backups are to go.
 */
export async function* forecast(
  plan: readonly ChainSteps[],
  receiver: Receiver,
): AsyncGenerator<Foretold, void, undefined> {
  const asked = mapAhead(plan, { map: (ofChain) => ask(ofChain, receiver), ahead: chainsAtOnce });
  for await (const foretold of asked) yield* foretold;
}

const ask = async ({ chain, steps }: ChainSteps, receiver: Receiver): Promise<Foretold[]> => {
  if (chain === null || steps.length < 2) return oneByOne(steps, receiver);
  const whole = await outcomeOf(receiver.deleteChain(chain.store, chain.name, true, {}));
  if (whole.kind === 'goes') {
    return whole.gone.trashedUntil === null
      ? fromWhole(chain, steps, { whole: whole.gone, receiver })
      : withTrash(chain, steps, { whole: whole.gone, receiver });
  }
  // Not the whole chain is the asker's, or is there any more; or it goes to the trash as a whole, and something in it is held.
  if (whole.error.code === 'BACKUP_NOT_FOUND' || whole.error.code === 'BACKUP_HELD') return oneByOne(steps, receiver);
  return steps.map((step) => ({ step, outcome: whole }));
};

interface Asked {
  /** What would become of the whole chain. */
  readonly whole: Gone;
  readonly receiver: Receiver;
}

/**
 * What keeps a backup in a deletion of its whole chain keeps it in any, with one exception: the newest one stays also because of the image,
 * which stays anyway when not all of the chain is to go.
 */
const fromWhole = (chain: Chain, steps: readonly Step[], { whole, receiver }: Asked): Promise<Foretold[]> => {
  const isAll = steps.length === chain.backups.length;
  const newest = chain.backups.at(-1)?.id;
  const kept = new Map(whole.kept.map(({ id, reason }) => [id, reason]));
  const goes = new Set(whole.ids);
  return inOrder(steps, (step) => {
    const [id] = step.ids;
    const error = id === undefined ? undefined : kept.get(id);
    const isSaid = error === undefined ? id !== undefined && goes.has(id) : isAll || kept.size > 1 || id !== newest;
    if (!isSaid) return outcomeOf(removeAtReceiver(step, receiver, true));
    return error === undefined
      ? { kind: 'goes', gone: { ids: step.ids, kept: [], trashedUntil: null } }
      : { kind: 'refused', error };
  });
};

/** With a trash the image goes as it is, and so the answer says nothing of its backups. Only the last one takes the image with it. */
const withTrash = async (chain: Chain, steps: readonly Step[], { whole, receiver }: Asked): Promise<Foretold[]> => {
  const isAll = steps.length === chain.backups.length;
  const before = await oneByOne(isAll ? steps.slice(0, -1) : steps, receiver);
  const last = steps.at(-1);
  if (!isAll || last === undefined) return before;
  const isLeft = before.some(({ outcome }) => outcome.kind === 'refused');
  const gone = { ids: last.ids, kept: [], trashedUntil: whole.trashedUntil };
  return [
    ...before,
    ...(isLeft ? await oneByOne([last], receiver) : [{ step: last, outcome: { kind: 'goes' as const, gone } }]),
  ];
};

const oneByOne = (steps: readonly Step[], receiver: Receiver): Promise<Foretold[]> =>
  inOrder(steps, (step) => outcomeOf(removeAtReceiver(step, receiver, true)));

const inOrder = async (
  steps: readonly Step[],
  look: (step: Step) => Outcome | Promise<Outcome>,
): Promise<Foretold[]> => {
  const foretold: Foretold[] = [];
  for (const step of steps) foretold.push({ step, outcome: await look(step) });
  return foretold;
};

const outcomeOf = async (removal: Promise<Gone>): Promise<Outcome> => {
  try {
    return { kind: 'goes', gone: await removal };
  } catch (thrown) {
    return { kind: 'refused', error: toFerryError(thrown) };
  }
};
