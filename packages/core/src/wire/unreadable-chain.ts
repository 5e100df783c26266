import { FerryError } from '../errors/ferry-error.js';
import { isErrorCode } from '../errors/registry.js';
import type { UnreadableChain as Wire } from '../gen/rbdferry/v1/model.js';
import { requireField } from './convert.js';

/** A chain that is there and cannot be read. */
export interface UnreadableChain {
  readonly store: string;
  /** Empty when it may be another client's: a client learns nothing of others. */
  readonly name: string;
  readonly error: FerryError;
}

export const unreadableToWire = ({ store, name, error }: UnreadableChain): Wire => {
  const { code, message, hint } = error;
  return { store, name, error: { code, message, hint } };
};

export const unreadableFromWire = ({ store, name, error }: Wire): UnreadableChain => {
  const { code, message, hint } = requireField(error, 'error');
  return { store, name, error: new FerryError(isErrorCode(code) ? code : 'CEPH_FAILED', message, { hint }) };
};
