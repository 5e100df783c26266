import { toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { ChainName, SnapName } from '@rbdferry/core/model/backup-id.js';
import type { Backup, BackupUsage, ChainUsage } from '@rbdferry/core/model/chain.js';
import { chainSource } from '@rbdferry/core/model/chain.js';
import { decodeUsage, encodeUsage, usageKey } from './backup-meta.js';
import type { ChainView } from './chain-reader.js';
import type { Options, StoreContext } from './context.js';

/**
 * What each backup of a chain added, in the bytes that `rbd diff` counts between its snapshot and the one before it. Measured
 * once and written down; measured again only when the backup before it was removed.
 */
export const chainUsage = async (
  context: StoreContext,
  view: ChainView & { chain: { active: boolean } },
  options: Options,
): Promise<ChainUsage> => {
  const backups: BackupUsage[] = [];
  let previous: SnapName | null = null;
  for (const backup of view.chain.backups) {
    backups.push({ ...backup, addedBytes: await addedBytes(context, view, { backup, previous }, options) });
    previous = backup.snap;
  }
  return {
    store: context.name,
    chain: view.chain.name,
    source: chainSource(view.chain),
    client: view.chain.backups[0]?.client ?? null,
    active: view.chain.active,
    legacy: view.chain.legacy,
    backups,
  };
};

const addedBytes = async (
  context: StoreContext,
  view: ChainView,
  of: { backup: Backup; previous: SnapName | null },
  options: Options,
): Promise<bigint> => {
  const text = view.metadata.get(usageKey(of.backup.snap));
  const known = text === undefined ? undefined : decodeUsage(text);
  if (known !== undefined && known.previous === of.previous) return known.addedBytes;
  return measure(context, view, of, options);
};

/** Asks Ceph, and writes the answer down (on clean chains of ours only: the older tool's images are left as they are). */
const measure = async (
  context: StoreContext,
  view: ChainView,
  { backup, previous }: { backup: Backup; previous: SnapName | null },
  options: Options,
): Promise<bigint> => {
  const { ceph, reader } = context;
  const { name } = view.chain;
  const extents = await ceph.diffExtents(reader.image(name), { snap: backup.snap, fromSnap: previous }, options);
  const usage = encodeUsage({ previous, addedBytes: extents.dataBytes });
  if (view.state?.kind === 'clean')
    await unlessChanging(context, name, () => reader.setMetadata(name, usageKey(backup.snap), usage, options));
  return extents.dataBytes;
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
