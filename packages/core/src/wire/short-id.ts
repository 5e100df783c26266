import { createHash } from 'node:crypto';
import { parseBackupId, type BackupId } from '../model/backup-id.js';
import { parsed, quoted, unparsed, type Parsed } from '../model/parsed.js';

/** Digits of a short id as it is shown, and the least that are taken. */
const shownDigits = 8;
const digitsPattern = /^[0-9a-f]+$/i;
const allDigits = 64;

/**
 * What short ids are the beginnings of: the SHA-256 of the whole id, in hexadecimal digits. It follows from the id alone, so nothing has to
 * be kept, and it means the same backup for as long as there is one: it does not depend on what else is in the store.
 */
export const idDigits = (id: string): string => createHash('sha256').update(id).digest('hex');

/** The short id as `list` shows it. */
export const shortIdOf = (id: string): string => idDigits(id).slice(0, shownDigits);

/** A backup as somebody names it. */
export type NamedBackup =
  | { readonly kind: 'whole'; readonly id: BackupId; readonly store: string }
  /** The first digits of {@link idDigits}, in small letters. */
  | { readonly kind: 'short'; readonly digits: string };

/**
 * A whole id, or a short one of at least 8 digits. Fewer are refused even where only one backup has them: of 10,000 backups to come one in
 * seven would then have the four digits that somebody has noted of a backup that is gone by now, and be restored, or deleted, in its place.
 *
 * A short id is nothing else: an image has a `/` in its name, a chain ends with `.bkp.image`, a whole id holds an `@`.
 */
export const parseNamedBackup = (text: string): Parsed<NamedBackup> => {
  if (digitsPattern.test(text)) {
    if (text.length < shownDigits)
      return unparsed(`${quoted(text)} is too short: a short id has ${shownDigits} digits`);
    if (text.length <= allDigits) return parsed({ kind: 'short', digits: text.toLowerCase() });
  }
  const whole = parseBackupId(text);
  return whole.ok ? parsed({ kind: 'whole', id: text as BackupId, store: whole.value.store }) : whole;
};
