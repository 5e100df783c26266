import type { CephPort } from '@rbdferry/core/ceph/port.js';
import { intercept, type PortCall } from './intercept.js';

/** Writes down every call in the order in which they began. */
export const watchedCeph = (port: CephPort): { readonly ceph: CephPort; readonly calls: readonly PortCall[] } => {
  const calls: PortCall[] = [];
  const ceph = intercept(port, {
    around(call, run) {
      calls.push(call);
      return run();
    },
  });
  return { ceph, calls };
};
