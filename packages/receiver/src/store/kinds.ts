import type { CephPort } from '@rbdferry/core/ceph/port.js';
import type { Logger } from '@rbdferry/core/log/logger.js';
import type { z } from 'zod';
import { GuardedStore } from './guarded-store.js';
import type { Store } from './port.js';
import { rbdStoreSchema } from './rbd-store/config.js';
import { retentionKeys } from './retention-config.js';
import { RbdDriver } from './rbd-store/rbd-driver.js';

/** A store in the receiver's configuration: its kind, and what that kind wants to know. */
export const storeSchema = rbdStoreSchema.extend(retentionKeys);

export type StoreConfig = z.output<typeof storeSchema>;

/** What a store gets from the receiver that it is in. */
export interface StoreSurroundings {
  readonly name: string;
  /** The backup cluster, for kinds that keep their backups there. */
  readonly ceph: CephPort;
  /** How long a transfer may stand still, in milliseconds. */
  readonly stallMs: () => number;
  readonly log: Logger;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

type Kinds = {
  readonly [Kind in StoreConfig['kind']]: (
    config: Extract<StoreConfig, { kind: Kind }>,
    surroundings: StoreSurroundings,
  ) => Store;
};

/** Kinds of stores; one that the configuration knows and that is missing here does not compile. */
const kinds: Kinds = {
  rbd: ({ pool, features = defaultFeatures, data_pool = null, trash_expiry = null }, { ceph, stallMs, ...store }) =>
    new GuardedStore({
      ...store,
      driver: (host) =>
        new RbdDriver({ pool, ceph, features, dataPool: data_pool, stallMs, trashExpiryMs: trash_expiry }, host),
    }),
};

/** A store as it is configured. */
export const createStore = (config: StoreConfig, surroundings: StoreSurroundings): Store =>
  kinds[config.kind](config, surroundings);

const defaultFeatures = ['layering', 'exclusive-lock', 'object-map', 'fast-diff'];
