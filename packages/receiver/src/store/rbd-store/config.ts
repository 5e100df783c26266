import { cephNameSchema, durationSchema, poolSchema } from '@rbdferry/core/config/schemas.js';
import { z } from 'zod';

/** A store of RBD images in the receiver's configuration; docs/configuration.md explains each key. */
export const rbdStoreSchema = z.strictObject({
  kind: z.literal('rbd').default('rbd'),
  pool: poolSchema,
  /** Features of the backup images; data pool and layout come from the source. */
  features: z.array(z.string().min(1)).optional(),
  /** Where the data of new backup images goes (an erasure-coded pool, say); the pool itself when left out. */
  data_pool: cephNameSchema('pool').optional(),
  /** Removed chains stay in the trash for so long; without it they are removed for good. */
  trash_expiry: durationSchema.optional(),
});
