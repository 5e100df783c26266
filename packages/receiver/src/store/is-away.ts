import type { FerryError } from '@rbdferry/core/errors/ferry-error.js';

/** Whether nothing of the whole place can be read, not only what was asked for. */
export const isAway = ({ code }: FerryError): boolean => code === 'CEPH_UNAVAILABLE' || code === 'CEPH_NOT_INSTALLED';
