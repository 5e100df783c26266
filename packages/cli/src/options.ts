import { orThrow } from '@rbdferry/core/errors/parsed.js';
import { parseBackupId } from '@rbdferry/core/model/backup-id.js';
import { formatImageSpec, parseImageSpec } from '@rbdferry/core/model/image-spec.js';
import { InvalidArgumentError, Option } from '@commander-js/extra-typings';

/** Parsers and options that several verbs share. */

export const defaultSocket = '/run/rbdferry/agent.sock';

/** @throws INVALID_IMAGE_SPEC */
export const imageArgument = (text: string): string =>
  formatImageSpec(orThrow(parseImageSpec(text), 'INVALID_IMAGE_SPEC'));

/** @throws INVALID_BACKUP_ID */
export const backupIdArgument = (text: string): string => {
  orThrow(parseBackupId(text), 'INVALID_BACKUP_ID');
  return text;
};

/** A whole number from 1. */
export const countArgument = (text: string): number => {
  const count = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  if (count < 1) throw new InvalidArgumentError('Expected a whole number from 1.');
  return count;
};

/** For options that may be given several times. */
export const collect = (text: string, before: readonly string[] | undefined): string[] => [...(before ?? []), text];

export const receiverOption = () =>
  new Option('--receiver <NAME>', "a receiver of the agent's configuration (default: the agent's)");

export const storeOption = () => new Option('--store <NAME>', "a store of the receiver (default: the agent's for it)");

export const examples = (...lines: string[]): string =>
  ['', lines.length === 1 ? 'Example:' : 'Examples:', ...lines.map((line) => `  $ rbdferry ${line}`)].join('\n');
