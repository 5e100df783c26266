import { describe } from 'vitest';
import { cephPortSuite } from './ceph-port.suite.js';
import { startRbdWorld } from './rbd-world.js';

describe.each(['cli', 'librbd'] as const)('through %s', (adapter) => {
  cephPortSuite(() => startRbdWorld({ name: `port-${adapter}`, user: 'agent', adapter }));
});
