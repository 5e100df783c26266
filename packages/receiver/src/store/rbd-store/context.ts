import type { CephPort } from '@rbdferry/core/ceph/port.js';
import { setTimeout } from 'node:timers/promises';
import { toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { PoolSpec } from '@rbdferry/core/model/image-spec.js';
import type { StoreHost } from '../driver.js';
import type { Options } from '../port.js';
import type { ChainReader } from './chain-reader.js';

/** How a store of RBD images is configured. */
export interface RbdStoreOptions {
  readonly pool: PoolSpec;
  readonly ceph: CephPort;
  /** Of backup images. */
  readonly features: readonly string[];
  /** Where the data of backup images goes; null for the pool itself. */
  readonly dataPool: string | null;
  /** How long a transfer may stand still, in milliseconds. */
  readonly stallMs: () => number;
  /** How long a removed chain's image stays in the trash, in milliseconds; null to remove it for good. */
  readonly trashExpiryMs: number | null;
}

/** What the parts of an RBD store share. */
export interface StoreContext extends RbdStoreOptions, StoreHost {
  readonly reader: ChainReader;
}

const busyTries = 5;
const busyWaitMs = 1_000;

/** Removes an image. A listing of ours that looks at it just now counts as a user of it for a moment. @throws IMAGE_IN_USE */
export const removeImage = async ({ ceph, reader }: StoreContext, name: string, options: Options): Promise<boolean> => {
  for (let tries = 1; ; tries += 1) {
    reader.forget(name);
    try {
      return await ceph.remove(reader.image(name), options);
    } catch (thrown) {
      if (tries === busyTries || toFerryError(thrown).code !== 'IMAGE_IN_USE') throw thrown;
    } finally {
      reader.forget(name);
    }
    await setTimeout(busyWaitMs, undefined, { signal: options.signal });
  }
};
