import { describe } from 'vitest';
import { startFakeRbdStoreWorld } from './fake-rbd-store-world.js';
import { storeHoldsSuite } from './store-holds.suite.js';
import { storeRemovalsSuite } from './store-removals.suite.js';
import { storeSharingSuite } from './store-sharing.suite.js';
import { storeTransfersSuite } from './store-transfers.suite.js';

/** Stores of RBD images on a cluster in memory. */
describe('transfers', () => storeTransfersSuite(startFakeRbdStoreWorld));
describe('removals and usage', () => storeRemovalsSuite(startFakeRbdStoreWorld));
describe('holds', () => storeHoldsSuite(startFakeRbdStoreWorld));
describe('several at once', () => storeSharingSuite(startFakeRbdStoreWorld));
