import { nameProblem, plainNameProblem } from './image-spec.js';
import { parsed, quoted, unparsed, type Parsed } from './parsed.js';

/** `2015-07-07.10:40:39.458883`: UTC with microseconds. Sorts by time as text. */
export type Timestamp = string & { readonly __brand: 'Timestamp' };
/** `IMAGE.TIMESTAMP.bkp.image`: the RBD image that holds one chain. */
export type ChainName = string & { readonly __brand: 'ChainName' };
/** `TIMESTAMP.snap`: one restorable point, on both clusters. */
export type SnapName = string & { readonly __brand: 'SnapName' };
/** `STORE/IMAGE.TIMESTAMP.bkp.image@TIMESTAMP.snap`. */
export type BackupId = string & { readonly __brand: 'BackupId' };

const timestamp = String.raw`\d{4}-\d{2}-\d{2}\.\d{2}:\d{2}:\d{2}\.\d{6}`;
const timestampPattern = new RegExp(`^${timestamp}$`);
const snapPattern = new RegExp(`^(${timestamp})\\.snap$`);
const chainPattern = new RegExp(`^(.+)\\.(${timestamp})\\.bkp\\.image$`, 's');

export interface BackupIdParts {
  readonly store: string;
  readonly chain: ChainName;
  readonly snap: SnapName;
}

/** @param microseconds since 1970-01-01T00:00Z. */
export const formatTimestamp = (microseconds: bigint): Timestamp => {
  const iso = new Date(Number(microseconds / 1000n)).toISOString();
  const sub = (microseconds % 1_000_000n).toString().padStart(6, '0');
  return `${iso.slice(0, 10)}.${iso.slice(11, 19)}.${sub}` as Timestamp;
};

/** @returns the moment in milliseconds since 1970; microseconds are cut. NaN for a day that does not exist. */
export const timestampToMs = (time: Timestamp): number => Date.parse(`${time.slice(0, 10)}T${time.slice(11, 23)}Z`);

export const isTimestamp = (text: string): text is Timestamp => timestampPattern.test(text);

export const snapNameOf = (time: Timestamp): SnapName => `${time}.snap` as SnapName;

/** @param image the source image's own name, without pool and namespace. */
export const chainNameOf = (image: string, time: Timestamp): ChainName => `${image}.${time}.bkp.image` as ChainName;

/** The time in a snapshot's name, or undefined when the name is not one of ours. */
export const snapTime = (name: string): Timestamp | undefined => snapPattern.exec(name)?.[1] as Timestamp | undefined;

export const isSnapName = (name: string): name is SnapName => snapPattern.test(name);

/** What a chain's name says, or undefined when the name is no chain's. `vm1` and `vm1.old` never mix: the time is fixed-width. */
export const splitChainName = (name: string): { image: string; time: Timestamp; chain: ChainName } | undefined => {
  const match = chainPattern.exec(name);
  if (match === null) return undefined;
  const [, image = '', time = ''] = match;
  return { image, time: time as Timestamp, chain: name as ChainName };
};

export const formatBackupId = ({ store, chain, snap }: BackupIdParts): BackupId =>
  `${store}/${chain}@${snap}` as BackupId;

export const parseBackupId = (text: string): Parsed<BackupIdParts> => {
  const bad = (why: string): Parsed<BackupIdParts> => unparsed(`${quoted(text)} is not a backup id: ${why}`);
  const slash = text.indexOf('/');
  const at = text.lastIndexOf('@');
  if (slash < 0 || at < slash) return bad('expected STORE/IMAGE.TIMESTAMP.bkp.image@TIMESTAMP.snap');
  const store = text.slice(0, slash);
  const chain = splitChainName(text.slice(slash + 1, at));
  const snap = text.slice(at + 1);
  if (chain === undefined) return bad('the part before @ is not IMAGE.TIMESTAMP.bkp.image');
  if (!isSnapName(snap)) return bad('the part after @ is not TIMESTAMP.snap');
  const problem = plainNameProblem('store', store) ?? nameProblem('image', chain.image);
  return problem === undefined ? parsed({ store, chain: chain.chain, snap }) : bad(problem);
};
