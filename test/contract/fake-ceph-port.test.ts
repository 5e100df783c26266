import { cephPortStreamsSuite } from './ceph-port-streams.suite.js';
import { cephPortSuite } from './ceph-port.suite.js';
import { startFakeWorld } from './fake-world.js';
import { describe } from 'vitest';

describe('the port to a cluster in memory', () => cephPortSuite(startFakeWorld));
describe('its streams', () => cephPortStreamsSuite(startFakeWorld));
