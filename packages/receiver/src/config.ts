import {
  addressSchema,
  cephSchema,
  logLevelSchema,
  metricsSchema,
  nameSchema,
  timeoutSchema,
  tlsSchema,
  windowSchema,
  wireSchema,
} from '@rbdferry/core/config/schemas.js';
import { z } from 'zod';
import { storeSchema } from './store/kinds.js';

/** As openssl and `rbdferry pki show` print it: 32 bytes in hex, with colons or without. */
const fingerprintSchema = z
  .string('expected a fingerprint in quotes')
  .regex(/^([0-9a-f]{2}:?){31}[0-9a-f]{2}$/i, 'expected a SHA-256 fingerprint; `rbdferry pki show` prints it')
  .transform((text) => text.replaceAll(':', '').toUpperCase().match(/../g)?.join(':') ?? '');

const clientSchema = z.strictObject({
  stores: z.array(nameSchema('store')).min(1),
  /** SHA-256 fingerprints of the only certificates that are this client's; left out, every one of the CA with its name is. */
  certificates: z.array(fingerprintSchema).min(1).optional(),
});

/** The receiver's configuration file; docs/configuration.md explains each key. */
export const receiverConfigSchema = z
  .strictObject({
    listen: addressSchema.default('0.0.0.0:7443'),
    tls: tlsSchema,
    ceph: cephSchema,
    stores: z.record(nameSchema('store'), storeSchema),
    /** By the common name of the client's certificate. */
    clients: z.record(z.string().min(1), clientSchema),
    stall_timeout: timeoutSchema.default(600_000),
    window: windowSchema,
    /** Off when left out. */
    metrics: metricsSchema.optional(),
    wire: wireSchema,
    log_level: logLevelSchema,
  })
  .superRefine((config, context) => {
    for (const [client, { stores }] of Object.entries(config.clients)) {
      for (const [index, store] of stores.entries()) {
        if (Object.hasOwn(config.stores, store)) continue;
        context.addIssue({
          code: 'custom',
          path: ['clients', client, 'stores', index],
          message: `there is no store ${JSON.stringify(store)} under stores`,
        });
      }
    }
  });

export type ReceiverConfig = z.infer<typeof receiverConfigSchema>;
