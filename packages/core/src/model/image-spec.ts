import { parsed, quoted, unparsed, type Parsed } from './parsed.js';

/** Where an image is on a cluster; `namespace` is '' for the pool's default namespace, as in Ceph itself. */
export interface ImageSpec {
  readonly pool: string;
  readonly namespace: string;
  readonly image: string;
}

/** A pool, or one namespace of it ('' is the default one). */
export type PoolSpec = Pick<ImageSpec, 'pool' | 'namespace'>;

/** An image by Ceph's own id, which stays when it is renamed or moved to the trash. */
export interface ImageById extends PoolSpec {
  readonly imageId: string;
}

export type ImageRef = ImageSpec | ImageById;

/** Names that people choose for rbdferry itself: no shell, log or CSV needs quotes for them. */
const plainPattern = /^[A-Za-z0-9_.:+=,%][A-Za-z0-9_.:+=,%-]*$/;
const maxPlainLength = 200;

/** Says what is wrong with the name of a store or a receiver, or undefined when it is fine. */
export const plainNameProblem = (what: string, name: string): string | undefined => {
  if (name === '') return `the ${what} name is empty`;
  if (name.length > maxPlainLength) return tooLong(what, name, `${maxPlainLength} characters`);
  if (name.startsWith('-')) return `the ${what} name ${quoted(name)} starts with '-'`;
  if (name === '.' || name === '..') return `the ${what} name ${quoted(name)} is not a name`;
  if (plainPattern.test(name)) return undefined;
  const [bad = ''] = /[^A-Za-z0-9_.:+=,%-]/u.exec(name) ?? [];
  return `the ${what} name ${quoted(name)} holds ${quoted(bad)}, which is not allowed`;
};

/** A name of Ceph's is part of an object's name, of 2048 bytes at most, and so is what we put behind an image's. */
const maxNameBytes = 1900;
/** Control characters, line and paragraph separators, and halves of characters. */
const unprintable = /[\p{Cc}\p{Zl}\p{Zp}\p{Cs}]/u;

/**
 * Says what is wrong with the name of a pool, namespace or image, or undefined when it is fine. `rbd create` takes every other name, and
 * so do we: what would be ambiguous in a spec or an id is refused, and what cannot be printed.
 */
export const nameProblem = (what: string, name: string): string | undefined => {
  if (name === '') return `the ${what} name is empty`;
  if (Buffer.byteLength(name) > maxNameBytes) return tooLong(what, name, `${maxNameBytes} bytes`);
  const [bad] = /[/@]/.exec(name) ?? [];
  if (bad !== undefined)
    return `the ${what} name ${quoted(name)} holds ${quoted(bad)}, which means something else in POOL/IMAGE@SNAPSHOT`;
  const [hidden] = unprintable.exec(name) ?? [];
  return hidden === undefined
    ? undefined
    : `the ${what} name ${quoted(name)} holds ${quoted(hidden)}, which cannot be printed`;
};

const tooLong = (what: string, name: string, limit: string): string =>
  `the ${what} name ${quoted(name)} is longer than ${limit}`;

/** Parses `POOL/IMAGE` or `POOL/NAMESPACE/IMAGE`. The pool is never guessed. */
export const parseImageSpec = (text: string): Parsed<ImageSpec> => {
  const parts = text.split('/');
  if (parts.length < 2 || parts.length > 3) {
    return unparsed(`${quoted(text)} is not an image: expected POOL/IMAGE or POOL/NAMESPACE/IMAGE`);
  }
  const [pool = '', middle = '', last] = parts;
  const spec = last === undefined ? { pool, namespace: '', image: middle } : { pool, namespace: middle, image: last };
  const problem =
    nameProblem('pool', spec.pool) ??
    (last === undefined ? undefined : nameProblem('namespace', spec.namespace)) ??
    nameProblem('image', spec.image);
  return problem === undefined ? parsed(spec) : unparsed(problem);
};

/** Parses `POOL` or `POOL/NAMESPACE`. */
export const parsePoolSpec = (text: string): Parsed<PoolSpec> => {
  const [pool = '', namespace, ...rest] = text.split('/');
  if (rest.length > 0) return unparsed(`${quoted(text)} is not a pool: expected POOL or POOL/NAMESPACE`);
  const problem =
    nameProblem('pool', pool) ?? (namespace === undefined ? undefined : nameProblem('namespace', namespace));
  return problem === undefined ? parsed({ pool, namespace: namespace ?? '' }) : unparsed(problem);
};

export const formatPoolSpec = ({ pool, namespace }: PoolSpec): string =>
  namespace === '' ? pool : `${pool}/${namespace}`;

/** The spelling `rbd` itself uses: `pool/image` or `pool/namespace/image`. */
export const formatImageSpec = (spec: ImageSpec): string => `${formatPoolSpec(spec)}/${spec.image}`;

/** Whether two specs name the same place. */
export const sameSpec = (a: ImageSpec, b: ImageSpec): boolean =>
  a.pool === b.pool && a.namespace === b.namespace && a.image === b.image;

/** For messages. */
export const formatImageRef = (ref: ImageRef): string =>
  'imageId' in ref ? `${formatPoolSpec(ref)}/(id ${ref.imageId})` : formatImageSpec(ref);
