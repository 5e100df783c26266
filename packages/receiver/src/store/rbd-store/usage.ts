import { FerryError, toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { ChainName, SnapName } from '@rbdferry/core/model/backup-id.js';
import type { Backup, BackupUsage, ChainUsage } from '@rbdferry/core/model/chain.js';
import { chainSource } from '@rbdferry/core/model/chain.js';
import type { LookOptions } from '../port.js';
import { decodeUsage, encodeUsage, usageKey } from './backup-meta.js';
import { isAway, type ChainView } from './chain-reader.js';
import type { Options, StoreContext } from './context.js';

type ActiveView = ChainView & { chain: { active: boolean } };

/** How often a chain is looked at anew because a backup went while it was measured. */
const maxLooks = 5;

/**
 * What each backup of a chain added, in the bytes that `rbd diff` counts between its snapshot and the one before it. Measured
 * once and written down; measured again only when the backup before it was removed. Without backups when the chain has gone
 * meanwhile, or cannot be measured and `onUnreadable` was told of it.
 */
export const chainUsage = async (
  context: StoreContext,
  view: ActiveView,
  options: LookOptions,
): Promise<ChainUsage> => {
  try {
    return await measuredChain(context, view, options);
  } catch (thrown) {
    const error = toFerryError(thrown);
    if (error.code === 'BACKUP_NOT_FOUND') return usageOf(context, view, []);
    if (options.onUnreadable === undefined || options.signal?.aborted === true || isAway(error)) throw error;
    options.onUnreadable({ name: view.chain.name, error });
    return usageOf(context, view, []);
  }
};

const measuredChain = async (context: StoreContext, first: ActiveView, options: Options): Promise<ChainUsage> => {
  let view = first;
  for (let looks = 1; ; looks += 1) {
    try {
      return usageOf(context, view, await usageOfEach(context, view, options));
    } catch (thrown) {
      if (looks === maxLooks || !wentMeanwhile.has(toFerryError(thrown).code)) throw thrown;
    }
    const { active } = first.chain;
    const fresh = await context.reader.fresh(view.chain.name, options);
    view = { ...fresh, chain: { ...fresh.chain, active } };
  }
};

/** What a measurement says when a backup, or the whole chain, was removed under it. */
const wentMeanwhile = new Set(['SNAPSHOT_NOT_FOUND', 'IMAGE_NOT_FOUND']);

const usageOfEach = async (context: StoreContext, view: ActiveView, options: Options): Promise<BackupUsage[]> => {
  const backups: BackupUsage[] = [];
  let previous: SnapName | null = null;
  for (const backup of view.chain.backups) {
    const added = await addedBytes(context, view, { backup, previous }, options);
    backups.push({ ...backup, source: backup.source?.identity ?? null, addedBytes: added });
    previous = backup.snap;
  }
  return backups;
};

const usageOf = (context: StoreContext, { chain }: ActiveView, backups: BackupUsage[]): ChainUsage => ({
  store: context.name,
  chain: chain.name,
  source: chainSource(chain),
  client: chain.backups[0]?.client ?? null,
  active: chain.active,
  legacy: chain.legacy,
  backups,
});

interface Measured {
  readonly backup: Backup;
  readonly previous: SnapName | null;
}

const addedBytes = async (context: StoreContext, view: ChainView, of: Measured, options: Options): Promise<bigint> => {
  const text = view.metadata.get(usageKey(of.backup.snap));
  const known = text === undefined ? undefined : decodeUsage(text);
  if (known !== undefined && known.previous === of.previous) return known.addedBytes;
  return measure(context, view, of, options);
};

/** Asks Ceph, and writes the answer down. @throws SNAPSHOT_NOT_FOUND when what was measured is not there any more */
const measure = async (context: StoreContext, view: ChainView, of: Measured, options: Options): Promise<bigint> => {
  const image = context.reader.image(view.chain.name);
  const extents = await context.ceph.diffExtents(image, { snap: of.backup.snap, fromSnap: of.previous }, options);
  await lookAgain(context, view, of, options);
  await writeDown(context, view, { ...of, addedBytes: extents.dataBytes }, options);
  return extents.dataBytes;
};

/** `rbd diff` exits 0 when what it reads is removed meanwhile, and reads nothing there. */
const lookAgain = async (
  { ceph, reader }: StoreContext,
  view: ChainView,
  { backup, previous }: Measured,
  options: Options,
): Promise<void> => {
  const now = await ceph.snapshots(reader.image(view.chain.name), options);
  for (const name of previous === null ? [backup.snap] : [backup.snap, previous]) {
    const before = view.snapshots.find((snapshot) => snapshot.name === name);
    if (before !== undefined && now.some((snapshot) => snapshot.name === name && snapshot.id === before.id)) continue;
    throw new FerryError('SNAPSHOT_NOT_FOUND', `${view.chain.name}@${name} was removed while it was measured`);
  }
};

/** For so long nothing is written down once that has failed: on a full pool each try costs seconds. */
const writePauseMs = 60_000;
const writesAgainAt = new WeakMap<StoreContext['reader'], number>();

/**
 * On clean chains of ours only: the older tool's images are left as they are. The figure is told though it cannot be written down, on
 * a full store above all, where one wants to know it.
 */
const writeDown = async (
  context: StoreContext,
  { chain: { name }, state }: ChainView,
  { backup, previous, addedBytes }: Measured & { readonly addedBytes: bigint },
  options: Options,
): Promise<void> => {
  const { reader, log, now } = context;
  if (state?.kind !== 'clean' || (writesAgainAt.get(reader) ?? 0) > now()) return;
  const usage = encodeUsage({ previous, addedBytes });
  try {
    await unlessChanging(context, name, () => reader.setMetadata(name, usageKey(backup.snap), usage, options));
  } catch (thrown) {
    if (options.signal?.aborted === true) throw thrown;
    const { code, message } = toFerryError(thrown);
    writesAgainAt.set(reader, now() + writePauseMs);
    log.info({ chain: name, code, error: message }, 'could not write down what a backup takes up');
  }
};

/**
 * Leaves a chain alone that somebody is changing: of two commands that change an image at the same time one may hang (see
 * {@link RbdOpenedPush.commit}), and a transfer is worth more than not to measure again.
 */
const unlessChanging = async ({ locks }: StoreContext, chain: ChainName, step: () => Promise<void>): Promise<void> => {
  const release = locks.tryAcquire(chain);
  try {
    if (release !== undefined) await step();
  } finally {
    release?.();
  }
};

/** Measures new backups in the background, one at a time, while no transfer is under way. */
export class UsageMeter {
  readonly #context: StoreContext;
  readonly #idle: () => boolean;
  readonly #ending = new AbortController();
  readonly #waiting: { chain: ChainName; snap: SnapName }[] = [];
  #working: Promise<void> | null = null;

  /** @param idle whether nothing more important is under way */
  constructor(context: StoreContext, idle: () => boolean) {
    this.#context = context;
    this.#idle = idle;
  }

  /** A backup was committed. */
  add(chain: ChainName, snap: SnapName): void {
    this.#waiting.push({ chain, snap });
  }

  /** Works off what waits, if it may now. Called whenever a transfer ends. */
  poke(): void {
    this.#working ??= this.#work().finally(() => {
      this.#working = null;
    });
  }

  async close(): Promise<void> {
    this.#ending.abort();
    await this.#working;
  }

  async #work(): Promise<void> {
    const { signal } = this.#ending;
    while (!signal.aborted && this.#idle()) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      try {
        await this.#measure(next.chain, next.snap, signal);
      } catch (thrown) {
        // It will be measured when somebody asks.
        this.#context.log.debug({ ...next, error: toFerryError(thrown).message }, 'could not measure a backup');
      }
    }
  }

  async #measure(chain: ChainName, snap: SnapName, signal: AbortSignal): Promise<void> {
    const view = await this.#context.reader.fresh(chain, { signal });
    const at = view.chain.backups.findIndex((backup) => backup.snap === snap);
    const backup = view.chain.backups[at];
    if (backup === undefined || view.metadata.has(usageKey(snap))) return;
    await measure(this.#context, view, { backup, previous: view.chain.backups[at - 1]?.snap ?? null }, { signal });
  }
}
