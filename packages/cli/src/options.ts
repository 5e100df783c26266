import { orThrow } from '@rbdferry/core/errors/parsed.js';
import { parseBackupId, splitChainName } from '@rbdferry/core/model/backup-id.js';
import { formatImageSpec, formatPoolSpec, parseImageSpec, parsePoolSpec } from '@rbdferry/core/model/image-spec.js';
import { parseDuration, parseRate } from '@rbdferry/core/model/quantity.js';
import { parseTimeZone } from '@rbdferry/core/model/retention/policy.js';
import { parseNamedBackup } from '@rbdferry/core/wire/short-id.js';
import { InvalidArgumentError, Option } from '@commander-js/extra-typings';

/** Parsers and options that several verbs share. */

/** @throws INVALID_IMAGE_SPEC */
export const imageArgument = (text: string): string =>
  formatImageSpec(orThrow(parseImageSpec(text), 'INVALID_IMAGE_SPEC'));

/** For an argument that may be given several times. @throws INVALID_IMAGE_SPEC */
export const imagesArgument = (text: string, before: string[] | undefined): string[] => [
  ...(before ?? []),
  imageArgument(text),
];

/** A whole id or a short one: the agent looks which backup has it. @throws INVALID_BACKUP_ID */
export const backupIdArgument = (text: string): string => {
  orThrow(parseNamedBackup(text), 'INVALID_BACKUP_ID');
  return text;
};

/** @throws INVALID_BACKUP_ID */
export const wholeIdArgument = (text: string): string => {
  orThrow(parseBackupId(text), 'INVALID_BACKUP_ID');
  return text;
};

/** [STORE/]IMAGE.TIMESTAMP.bkp.image */
export const chainArgument = (text: string): string => {
  if (splitChainName(text.slice(text.indexOf('/') + 1)) !== undefined) return text;
  throw new InvalidArgumentError('Expected [STORE/]IMAGE.TIMESTAMP.bkp.image, as `list` prints it.');
};

/** What usage may be asked of. */
export interface UsageOf {
  readonly image?: string;
  readonly chain?: string;
  readonly backupId?: string;
}

/** No image has an @ in its name, or no /, and what is named as a chain is one. @throws INVALID_IMAGE_SPEC, INVALID_BACKUP_ID */
export const usageArgument = (text: string): UsageOf => {
  if (text.includes('@') || /^[0-9a-f]{4,}$/i.test(text)) return { backupId: backupIdArgument(text) };
  const isChain = text.split('/').length <= 2 && splitChainName(text.slice(text.indexOf('/') + 1)) !== undefined;
  return isChain ? { chain: text } : { image: imageArgument(text) };
};

/** Milliseconds. */
export const durationArgument = (text: string): number => {
  const duration = parseDuration(text);
  if (!duration.ok) throw new InvalidArgumentError('Expected a duration such as 36h, 30d or 2w.');
  return duration.value;
};

/** Bytes per second. */
export const rateArgument = (text: string): number => {
  const rate = parseRate(text);
  if (!rate.ok) throw new InvalidArgumentError('Expected a rate such as 50MiB/s or 400Mbit/s, at least 1KiB/s.');
  return rate.value;
};

const timePattern = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d+)?)?)(Z|[+-]\d\d:\d\d)?)?$/;

/** A day or a time of ISO 8601; UTC unless it says otherwise. */
export const timeArgument = (text: string): Date => {
  const [, day = '', time = '00:00', zone = 'Z'] = timePattern.exec(text) ?? [];
  const at = new Date(`${day}T${time}${zone}`);
  const midnight = new Date(`${day}T00:00Z`);
  // JavaScript takes the 30th of February for the 2nd of March.
  const isReal =
    [at, midnight].every((each) => !Number.isNaN(each.getTime())) && midnight.toISOString().startsWith(day);
  if (isReal) return at;
  throw new InvalidArgumentError('Expected a day or a time such as 2026-11-24 or 2026-11-24T12:00 (UTC).');
};

/** A whole number from 1. */
export const countArgument = (text: string): number => {
  const count = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  if (count < 1) throw new InvalidArgumentError('Expected a whole number from 1.');
  return count;
};

/** A whole number from 0. */
export const numberArgument = (text: string): number => {
  if (!/^\d{1,6}$/.test(text)) throw new InvalidArgumentError('Expected a whole number from 0 to 999999.');
  return Number(text);
};

export const timeZoneArgument = (text: string): string => {
  const zone = parseTimeZone(text);
  if (!zone.ok) throw new InvalidArgumentError('Expected a time zone such as Europe/Berlin or UTC.');
  return zone.value;
};

/** For options that may be given several times. */
export const collect = (text: string, before: readonly string[] | undefined): string[] => [...(before ?? []), text];

export const receiverOption = () =>
  new Option('--receiver <NAME>', "a receiver of the agent's configuration (default: the agent's)");

export const storeOption = () => new Option('--store <NAME>', "a store of the receiver (default: the agent's for it)");

export const allStoresOption = () => new Option('--all-stores', 'every store of the receiver that this agent may see');

export const asyncOption = () =>
  new Option(
    '--async',
    'print the id of the job, and return when the job is planned (or refused) or waits for others; see `job wait`',
  );

export const idempotencyKeyOption = () =>
  new Option('--idempotency-key <KEY>', 'a job that was started with this key before is followed, not started again');

export const attemptsOption = () =>
  new Option(
    '--attempts <N>',
    'try up to N times, with longer and longer pauses, when it fails with what may go by itself (a receiver that is away)',
  ).argParser(countArgument);

export const limitOption = () =>
  new Option(
    '--limit <RATE>',
    "no faster over the network than RATE, such as 50MiB/s or 400Mbit/s (the receiver's limit holds beside it)",
  ).argParser(rateArgument);

export const poolOption = () =>
  new Option('--pool <POOL>', 'every image of POOL or POOL/NAMESPACE (may be given several times)').argParser(
    collectPools,
  );

const collectPools = (text: string, before: string[] | undefined): string[] => [...(before ?? []), poolArgument(text)];

/** POOL or POOL/NAMESPACE. @throws INVALID_IMAGE_SPEC */
export const poolArgument = (text: string): string =>
  formatPoolSpec(orThrow(parsePoolSpec(text), 'INVALID_IMAGE_SPEC'));

export const allPoolsOption = () =>
  new Option('--all', "every image of the pools that the agent's configuration names");

export const matchOption = () =>
  new Option(
    '--match <GLOB>',
    'of the pools only images that match, such as vm* or, with a pool, rbd/vm* (several times: any of them). What an image says itself in its image-meta rbdferry.select, on or off, goes before',
  ).argParser(collect);

export const excludeOption = () =>
  new Option('--exclude <GLOB>', 'of the pools no images that match (may be given several times)').argParser(collect);
