import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BackupId } from '@rbdferry/core/model/backup-id.js';
import { noKeepRules } from '@rbdferry/core/model/retention/policy.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { describeSite, normalised } from './describe-site.js';
import { partsOf, sha256OfRestored } from './store.js';
import { TwoSites, vm, type Death, type Side } from './two-sites.js';

/**
 * Agent and receiver die before and after every single call of their clusters, in every kind of job, and while they put that right; their
 * next lives must make of it what was there before, or what the whole job would have made, and say which.
 */

let directory: string;
let scenes = 0;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'rbdferry-crashes-'));
});

afterAll(() => rm(directory, { recursive: true, force: true }));

/** A chain of a full and an increment, and a second one of a full; each backup of other data. */
const prepare = async (backups: number): Promise<TwoSites> => {
  const sites = new TwoSites(join(directory, `${(scenes += 1)}`));
  await sites.createImage();
  sites.write(0);
  for (let round = 1; round <= backups; round += 1) {
    await sites.backUp(round === 3 ? 'full' : 'auto');
    sites.write(round);
  }
  return sites;
};

interface Begun {
  readonly sites: TwoSites;
  readonly job: string | null;
  /** The newest backup before. */
  readonly newest: BackupId;
}

interface Work {
  /** How many backups there are before. */
  readonly backups: number;
  /** Whether the recovery dies as well. */
  readonly again?: true;
  /** Answers the id of the job; null when what it does is no job. */
  readonly begin: (sites: TwoSites, newest: BackupId) => Promise<string | null>;
}

const place = { receiver: 'dr', store: 'main' };
const backUp = (sites: TwoSites): Promise<string> => sites.backUp('auto');
const restoreTo =
  (to: string | null) =>
  (sites: TwoSites, backupId: BackupId): Promise<string> =>
    sites.run({ kind: 'restore', backupId, to, replace: to === null, ...place });
const prune = async (sites: TwoSites): Promise<null> => {
  const keep = { ...noKeepRules, last: 1 };
  const policy = { olderThanMs: null, keep, keepIds: [], minAgeMs: 0, timeZone: 'UTC' };
  await sites.agent.delete({ kind: 'policy', store: 'main', images: [vm], policy }).catch(() => {});
  return null;
};

const removeChain = async (sites: TwoSites, newest: BackupId): Promise<null> => {
  const { chain } = partsOf(newest);
  await sites.agent.delete({ kind: 'chain', store: 'main', chain }).catch(() => {});
  return null;
};

const works: [string, Work][] = [
  ['a full backup', { backups: 0, begin: backUp }],
  ['an increment', { backups: 2, again: true, begin: backUp }],
  ['a restore to a new name', { backups: 2, begin: restoreTo('rbd/back') }],
  ['a restore in place of its image', { backups: 2, again: true, begin: restoreTo(null) }],
  ['a deletion of all but the newest', { backups: 3, again: true, begin: prune }],
  ['a deletion of a whole chain', { backups: 2, begin: removeChain }],
];

/** Hundreds of runs, of a hundredth of a second each on a machine that does nothing else. */
const timeout = 600_000;
const whens = ['before', 'after'] as const;
const sides: Side[] = ['agent', 'receiver'];

/** Everything on both sides, alike for scenes that differ only in times and identities. */
const everything = (sites: TwoSites): string[] =>
  normalised([...describeSite(sites.source), '---', ...describeSite(sites.backup)]);

const newestOf = async (sites: TwoSites): Promise<BackupId> => (await sites.listed()).at(-1)?.id ?? ('' as BackupId);

/** Whether no one has left that behind before: the same is not looked at twice. */
const isNew = (sites: TwoSites, seen: Set<string>, who: string): boolean => {
  const key = JSON.stringify([who, everything(sites), sites.onDisk()]);
  if (seen.has(key)) return false;
  seen.add(key);
  return true;
};

const never: Death = { side: 'agent', at: Number.POSITIVE_INFINITY, when: 'before' };

describe.each(works)('%s', (_, { backups, begin, again = false }) => {
  /** What is there before and after, and how many calls it takes. */
  const counted = async () => {
    const sites = await prepare(backups);
    const before = everything(sites);
    const newest = await newestOf(sites);
    const calls = await sites.willDie(never);
    await begin(sites, newest);
    await sites.settled();
    const after = everything(sites);
    const named = { agent: [...calls.agent], receiver: [...calls.receiver] };
    await sites.close();
    return { before, after, calls: named };
  };

  const check = async ({ sites, job, newest }: Begun, of: { before: string[]; after: string[] }) => {
    expect(
      sites.agent.looseEnds().filter(({ end }) => !(end.kind === 'snapshot' && end.unseenSinceMs !== undefined)),
    ).toEqual([]);
    for (const cluster of [sites.source, sites.backup]) {
      expect(cluster.allWatchers()).toEqual([]);
      expect(cluster.overlaps).toEqual([]);
    }
    const now = everything(sites);
    if (job === null) {
      await checkWhole(sites);
      // What was not begun is asked for again.
      await begin(sites, newest);
      await sites.settled();
      expect(everything(sites)).toEqual(of.after);
    } else {
      const { kind } = sites.agent.stateOf(job);
      expect(kind).toMatch(/^(committed|failed)$/);
      expect(now).toEqual(kind === 'committed' ? of.after : of.before);
    }
    await checkNext(sites);
  };

  const checkWhole = async (sites: TwoSites): Promise<void> => {
    for (const { id } of await sites.listed()) {
      const content = sites.contents.get(id);
      expect(content).toBeDefined();
      expect(await sha256OfRestored(sites.store, partsOf(id))).toBe(content);
    }
  };

  /** The next backup builds on the newest one, whose snapshot is there, and each backup gives back what it was made of. */
  const checkNext = async (sites: TwoSites): Promise<void> => {
    const known = await sites.listed();
    sites.write(9);
    const job = await sites.backUp(known.length === 0 ? 'full' : 'incr');
    expect(sites.agent.stateOf(job)).toMatchObject({ kind: 'committed', warnings: [] });
    await sites.settled();
    const now = await sites.listed();
    expect(now.map(({ id }) => id)).toEqual([...known.map(({ id }) => id), expect.any(String)]);
    const newest = now.at(-1);
    expect(await sha256OfRestored(sites.store, partsOf(newest?.id ?? ('' as BackupId)))).toBe(sites.source.sha256(vm));
    await checkWhole(sites);
    // A snapshot that never came is not waited for for ever.
    sites.wait(25 * 3_600_000);
    await sites.agent.settle();
    expect(sites.agent.looseEnds()).toEqual([]);
  };

  /** Where it died, for the message when something is wrong. */
  const says = (deaths: readonly string[]) => (cause: unknown) => {
    throw new Error(`died ${deaths.join(', and then ')}`, { cause });
  };

  const dieOnce = async (death: Death): Promise<Begun & { where: string }> => {
    const sites = await prepare(backups);
    const newest = await newestOf(sites);
    const calls = (await sites.willDie(death))[death.side];
    const job = await begin(sites, newest);
    await sites.settled();
    return { sites, job, newest, where: `${death.side} ${death.when} ${calls[death.at - 1]}` };
  };

  const deathsOf = (side: Side, calls: Record<Side, readonly string[]>): Death[] =>
    calls[side].flatMap((_call, index) => whens.map((when) => ({ side, at: index + 1, when })));

  it.each(sides)('is done or was not begun when the %s dies at any call', { timeout }, async (side) => {
    const { calls, ...of } = await counted();
    expect(calls[side].length).toBeGreaterThan(2);
    for (const death of deathsOf(side, calls)) {
      const begun = await dieOnce(death);
      const { sites, where } = begun;
      expect(sites.hasDied, where).toBe(true);
      await sites.recover();
      await check(begun, of).catch(says([where]));
      await sites.close();
    }
  });

  /** The same side dies again after each call of its recovery. */
  const dieAgain = async (death: Death, of: { before: string[]; after: string[]; seen: Set<string> }) => {
    for (let at = 1, isOver = false; !isOver; at += 1) {
      const begun = await dieOnce(death);
      const { sites, where } = begun;
      const { side } = death;
      const lastCall = await sites.recover({ side, at, when: 'after' });
      isOver = !sites.hasDied;
      if (!isOver && isNew(sites, of.seen, 'again')) {
        await sites.recover();
        await check(begun, of).catch(says([where, `${side} after ${lastCall}`]));
      }
      await sites.close();
    }
  };

  it.runIf(again).each(sides)(
    'is done or was not begun when the %s dies again while it recovers',
    { timeout },
    async (side) => {
      const { calls, ...of } = await counted();
      const seen = new Set<string>();
      let found = 0;
      for (const death of deathsOf(side, calls)) {
        const { sites } = await dieOnce(death);
        const isOther = isNew(sites, seen, '');
        await sites.close();
        if (!isOther) continue;
        found += 1;
        await dieAgain(death, { ...of, seen });
      }
      expect(found).toBeGreaterThan(0);
    },
  );
});
