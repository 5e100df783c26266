import { cephPortSuite } from './ceph-port.suite.js';
import { startRbdWorld } from './rbd-world.js';

cephPortSuite(() => startRbdWorld('port', 'agent'));
