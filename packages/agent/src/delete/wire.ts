import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { orThrow } from '@rbdferry/core/errors/parsed.js';
import type {
  BackupDecision,
  DecisionReason,
  DeleteBackupsResponse,
  DeletePolicy,
} from '@rbdferry/core/gen/rbdferry/v1/control.js';
import { formatImageSpec, parseImageSpec } from '@rbdferry/core/model/image-spec.js';
import { describeReason, type Decision } from '@rbdferry/core/model/retention/decision.js';
import { describePolicy, noKeepRules } from '@rbdferry/core/model/retention/policy.js';
import { holdToWire } from '@rbdferry/core/wire/convert.js';
import { keptToWire } from '@rbdferry/core/wire/kept-backup.js';
import { givesRules, rulesFromWire, rulesToWire } from '@rbdferry/core/wire/retention.js';
import type { DeleteEvent } from './delete-backups.js';
import type { AskedPolicy, PolicyUsed } from './policy-used.js';
import type { PolicySelection } from './selection.js';

/** A policy but for its `keepIds`, of which short ones are still to be looked up. @throws INVALID_REQUEST, INVALID_IMAGE_SPEC */
export const policyOf = (request: DeletePolicy, store: string): PolicySelection => {
  const { olderThanMs, keepLast, keepFull, rules, explain = false } = request;
  const hasRules =
    [olderThanMs, keepLast, keepFull].some((rule) => rule !== undefined) || (rules !== undefined && givesRules(rules));
  if (!hasRules && !explain) {
    throw new FerryError('INVALID_REQUEST', 'a policy needs an age, or a number of backups or chains to keep');
  }
  if (keepLast === 0 || keepFull === 0) {
    throw new FerryError('INVALID_REQUEST', 'a policy keeps at least one backup; remove chains by name to remove all');
  }
  if (olderThanMs !== undefined && olderThanMs < 0n) throw new FerryError('INVALID_REQUEST', 'an age is not negative');
  if (request.allImages === request.images.length > 0) {
    throw new FerryError('INVALID_REQUEST', 'name images, or say all images');
  }
  return {
    kind: 'policy',
    store,
    images: request.allImages
      ? null
      : request.images.map((image) => orThrow(parseImageSpec(image), 'INVALID_IMAGE_SPEC')),
    policy: { ...askedRules(request), hasRules, explain },
  };
};

const askedRules = ({
  olderThanMs,
  keepLast = 0,
  keepFull = 0,
  rules,
}: DeletePolicy): Omit<AskedPolicy, 'hasRules' | 'explain'> => {
  const { keep, minAgeMs, timeZone } =
    rules === undefined ? { keep: noKeepRules, minAgeMs: 0, timeZone: null } : rulesFromWire(rules);
  return {
    olderThanMs: olderThanMs === undefined ? null : Number(olderThanMs),
    keep: { ...keep, last: Math.max(keep.last, keepLast), full: keepFull },
    keepIds: [],
    minAgeMs,
    timeZone,
  };
};

export const deleteEventToWire = (event: DeleteEvent): DeleteBackupsResponse => {
  const trashedUntilMs = event.kind === 'deleted' ? BigInt(event.trashedUntil?.getTime() ?? 0) : 0n;
  return { event: toWire(event), trashedUntilMs };
};

const toWire = (event: DeleteEvent): DeleteBackupsResponse['event'] => {
  switch (event.kind) {
    case 'deleted':
      return { $case: 'deleted', value: event.id };
    case 'kept':
      return { $case: 'kept', value: keptToWire(event) };
    case 'note':
      return { $case: 'note', value: event.text };
    case 'policy':
      return { $case: 'policy', value: policyToWire(event.used) };
    case 'decided':
      return { $case: 'decided', value: decisionToWire(event.decision) };
  }
};

const policyToWire = ({ policy, isOfStore }: PolicyUsed) => ({
  rules: rulesToWire(policy),
  ofStore: isOfStore,
  text: describePolicy(policy),
});

const decisionToWire = ({ kind, backup, reasons }: Decision): BackupDecision => ({
  backupId: backup.id,
  image: backup.source === null ? '' : formatImageSpec(backup.source.identity.image),
  goes: kind === 'goes',
  reasons: reasons.map(reasonToWire),
});

const reasonToWire = (reason: Decision['reasons'][number]): DecisionReason => ({
  kind: reason.kind,
  text: describeReason(reason),
  bucket: 'bucket' in reason ? reason.bucket : '',
  hold: reason.kind === 'held' ? holdToWire(reason.hold) : undefined,
});
