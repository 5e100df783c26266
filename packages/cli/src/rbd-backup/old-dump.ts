import type { ChainView } from '../view/chain.js';

/** The lines of the old tool's debug log. */

/** `2015-07-07 10:53:10,083 rbd_backup DEBUG - `, in UTC: as many words as the old tool had before its text. */
const prefix = (now: Date): string =>
  `${now.toISOString().slice(0, 23).replace('T', ' ').replace('.', ',')} rbd_backup DEBUG - `;

/** @param text what the old tool logged */
export const logLine = (text: string, now: Date): string => `${prefix(now)}${text}`;

/** A moment as the old tool wrote it: `2015-07-07.10:53:09.983320`. */
export const moment = (now: Date): string => `${now.toISOString().slice(0, 23).replace('T', '.')}000`;

/** A chain as the old tool showed it. @param firstNumber of the first backup, in the place of Ceph's snapshot id */
export const chainLines = ({ name, active, backups }: ChainView, firstNumber: number): string[] => [
  `=== ${name} === ${active ? 'active' : 'passive'}`,
  ...backups.map(({ id, sizeBytes }, index) => {
    const number = String(firstNumber + index).padStart(6);
    return `------ ${number} ${id.slice(id.indexOf('@') + 1)} ${oldSize(sizeBytes)} `;
  }),
];

const units = ['bytes', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB'];

/** A size as `rbd snap ls` of that time wrote it: the largest unit that leaves more than 100, cut off. */
export const oldSize = (bytes: bigint): string => {
  let unit = 0;
  while (unit < units.length - 1 && bytes > 100n << BigInt(10 * (unit + 1))) unit += 1;
  return `${bytes >> BigInt(10 * unit)} ${units[unit] ?? ''}`;
};
