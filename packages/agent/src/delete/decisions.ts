import type { CephPort } from '@rbdferry/core/ceph/port.js';
import type { Chain } from '@rbdferry/core/model/chain.js';
import { byImage, type ImageBackups } from '@rbdferry/core/model/image-backups.js';
import { sameSpec, type ImageSpec } from '@rbdferry/core/model/image-spec.js';
import { splitChainName, type BackupId } from '@rbdferry/core/model/backup-id.js';
import { decideRetention } from '@rbdferry/core/model/retention/decide.js';
import { describeReason, type Decision } from '@rbdferry/core/model/retention/decision.js';
import type { RetentionPolicy } from '@rbdferry/core/model/retention/policy.js';
import { basesOf, type BasesOf } from './bases.js';
import { lookAtSources, type SourcesSeen } from './look-at-sources.js';
import type { PolicySelection } from './selection.js';

export interface Decided {
  /** Image by image, the oldest backup first. */
  readonly decisions: readonly Decision[];
  /** What was seen of the source on the way; null when it was not asked. */
  readonly sources: SourcesSeen | null;
}

interface Deps {
  readonly ceph: CephPort;
  readonly signal: AbortSignal;
  /** By the receiver's clock, in milliseconds since 1970. */
  readonly now: () => number;
}

/**
 * What a policy comes to. It looks at each image's own backups, whatever chains they are in, and never at another image's in the same chains.
 * Backups of the older tool are left to deletion by id: nobody knows their pool.
 *
 * @param chains those that may hold backups of the images
 */
export const decisionsOf = async (
  { images, policy: { explain } }: PolicySelection,
  policy: RetentionPolicy,
  chains: readonly Chain[],
  deps: Deps,
): Promise<Decided> => {
  const wanted = byImage(chains).filter((image) => isWanted(image, images));
  const nowMs = deps.now();
  if (!explain) return { decisions: decideAll(wanted, policy, { nowMs, bases: () => new Set() }), sources: null };
  const names = new Set(wanted.flatMap((image) => image.chains.map(({ name }) => name)));
  const touched = chains.filter(({ name }) => names.has(name));
  const sources = await lookAtSources(touched, chains, deps);
  return { decisions: decideAll(wanted, policy, { nowMs, bases: basesOf(sources, chains) }), sources };
};

const decideAll = (
  images: readonly ImageBackups<Chain>[],
  policy: RetentionPolicy,
  { nowMs, bases }: { readonly nowMs: number; readonly bases: BasesOf },
): Decision[] =>
  images.flatMap((image) =>
    image.source === null
      ? image.chains.flatMap(({ backups }) =>
          backups.map((backup): Decision => ({ kind: 'kept', backup, reasons: [{ kind: 'legacy' }] })),
        )
      : decideRetention(policy, image.chains, { nowMs, bases: bases(image) }),
  );

const isWanted = ({ source, chains }: ImageBackups<Chain>, images: readonly ImageSpec[] | null): boolean => {
  if (images === null) return true;
  if (source !== null) return images.some((image) => sameSpec(image, source.image));
  const name = splitChainName(chains[0]?.name ?? '')?.image;
  return images.some(({ image }) => image === name);
};

export const idsThatGo = (decisions: readonly Decision[]): BackupId[] =>
  decisions.flatMap(({ kind, backup }) => (kind === 'goes' ? [backup.id] : []));

/** Who is not told of every decision is told of backups that stay against the rules that were given. */
export const staysInSpite = (decisions: readonly Decision[]): string[] =>
  decisions.flatMap(({ kind, backup, reasons }) =>
    kind === 'kept' && reasons.every((reason) => reason.kind === 'held' || reason.kind === 'min-age')
      ? [`${backup.id} stays: ${reasons.map(describeReason).join(', ')}`]
      : [],
  );
