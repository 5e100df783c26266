import type { CephPort } from '@rbdferry/core/ceph/port.js';
import { intercept, type PortCall } from './intercept.js';

export interface DelayedCeph {
  readonly ceph: CephPort;
  /** Resolves when the call has come and is held. */
  readonly held: Promise<PortCall>;
  /** Lets it go on. */
  release(): void;
}

/**
 * Holds the first call that matches until it is released: before it reaches the port, or when it is done but its caller does not know.
 * All others pass.
 */
export const delayedCeph = (
  port: CephPort,
  matches: (call: PortCall) => boolean,
  when: 'before' | 'after' = 'before',
): DelayedCeph => {
  let sayHeld: (call: PortCall) => void = () => {};
  let release = (): void => {};
  const held = new Promise<PortCall>((resolve) => (sayHeld = resolve));
  const released = new Promise<void>((resolve) => (release = resolve));
  let isWaited = false;
  const ceph = intercept(port, {
    async around(call, run) {
      if (isWaited || !matches(call)) return run();
      isWaited = true;
      const running = when === 'after' ? run() : undefined;
      await running;
      sayHeld(call);
      await released;
      return running ?? run();
    },
  });
  return { ceph, held, release: () => release() };
};
