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

/**
 * Names that may reach a command line. Ceph allows more; these need no quoting in any shell, log or CSV, and
 * a leading '-' can never be taken for an option.
 */
const namePattern = /^[A-Za-z0-9_.:+=,%][A-Za-z0-9_.:+=,%-]*$/;
const maxNameLength = 200;

/** Says what is wrong with a pool, namespace, image or store name, or undefined when it is fine. */
export const nameProblem = (what: string, name: string): string | undefined => {
  if (name === '') return `the ${what} name is empty`;
  if (name.length > maxNameLength) return `the ${what} name ${quoted(name)} is longer than ${maxNameLength} characters`;
  if (name.startsWith('-')) return `the ${what} name ${quoted(name)} starts with '-'`;
  if (name === '.' || name === '..') return `the ${what} name ${quoted(name)} is not a name`;
  if (namePattern.test(name)) return undefined;
  const [bad = ''] = /[^A-Za-z0-9_.:+=,%-]/u.exec(name) ?? [];
  return `the ${what} name ${quoted(name)} holds ${quoted(bad)}, which is not allowed`;
};

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
