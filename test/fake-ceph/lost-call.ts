import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { CephPort } from '@rbdferry/core/ceph/port.js';
import { intercept } from './intercept.js';

/** The port of a process that lives on, but one call of which gets no answer: the helper that made it ended under it, or was shut out. */
export const lostCall = (
  port: CephPort,
  /** Whether it was carried out before. */
  { at, when }: { readonly at: number; readonly when: 'before' | 'after' },
): { readonly ceph: CephPort; readonly calls: readonly string[] } => {
  const calls: string[] = [];
  const ceph = intercept(port, {
    async around({ name, text }, run) {
      // A stream's command is a process of its own, whose end is seen.
      if (name.includes('.') || name === 'exportDiff' || name === 'importDiff') return run();
      const number = calls.push(text);
      if (number !== at) return run();
      if (when === 'after') await run();
      throw new FerryError('CEPH_UNAVAILABLE', `no answer to call ${at}, ${text}, lost ${when} it was carried out`);
    },
  });
  return { ceph, calls };
};
