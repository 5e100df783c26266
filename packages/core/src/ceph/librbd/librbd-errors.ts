import { getSystemErrorMap } from 'node:util';
import { FerryError } from '../../errors/ferry-error.js';
import type { ErrorCode } from '../../errors/registry.js';
import { byErrno, type Failure, type Meanings } from '../classify.js';
import type { FailedAt, NativeFailure } from './protocol.js';

/** What a call was asked for, for its messages, and what an errno of it means. */
export interface Asked {
  /** After "cannot": `remove image "rbd/vm1"`. */
  readonly what: string;
  readonly meanings?: Meanings;
}

const enoent = 2;

const missing: Readonly<Record<Exclude<FailedAt, 'call'>, ErrorCode>> = {
  pool: 'POOL_NOT_FOUND',
  namespace: 'NAMESPACE_NOT_FOUND',
  image: 'IMAGE_NOT_FOUND',
  snapshot: 'SNAPSHOT_NOT_FOUND',
};

/** The error of a failed call: librbd says no more than an errno, and where it came up tells what it means. */
export const failureError = (failure: NativeFailure, { what, meanings = {} }: Asked): FerryError => {
  const { code, hint } = classifyFailure(failure, meanings);
  return new FerryError(code, `cannot ${what}: ${errnoText(failure)}`, hint === undefined ? {} : { hint });
};

const classifyFailure = ({ errno, at }: NativeFailure, meanings: Meanings): Failure => {
  if (errno !== enoent || at === 'call') return byErrno(errno, meanings);
  return { code: missing[at], absent: false };
};

/** Such as `rbd_open: (2) no such file or directory`. */
export const errnoText = ({ errno, call }: NativeFailure): string => {
  const [, words = 'unknown error'] = getSystemErrorMap().get(-errno) ?? [];
  return `${call}: (${errno}) ${words}`;
};
