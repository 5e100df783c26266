import { cephPortStreamsSuite } from './ceph-port-streams.suite.js';
import { startRbdWorld } from './rbd-world.js';

cephPortStreamsSuite(() => startRbdWorld({ name: 'streams', user: 'receiver', adapter: 'cli' }));
