import {
  addressSchema,
  cephSchema,
  durationSchema,
  logLevelSchema,
  metricsSchema,
  nameSchema,
  poolSchema,
  rateLimitSchema,
  timeoutSchema,
  tlsSchema,
  windowSchema,
  wireSchema,
} from '@rbdferry/core/config/schemas.js';
import { z } from 'zod';

const receiverSchema = z.strictObject({
  address: addressSchema,
  tls: tlsSchema,
  /** The store used when a request names none. */
  store: nameSchema('store'),
  window: windowSchema,
  /** What all jobs of this receiver together may send and read; local time. */
  limit: rateLimitSchema.optional(),
  compression: z.enum(['off', 'on', 'auto']).default('off'),
});

/** The agent's configuration file; docs/configuration.md explains each key. */
export const agentConfigSchema = z
  .strictObject({
    socket: z.string().min(1).max(100).default('/run/rbdferry/agent.sock'),
    /** Directory of the job store. */
    state: z.string().min(1).default('/var/lib/rbdferry'),
    ceph: cephSchema,
    /** What "all pools" means. */
    pools: z.array(poolSchema).default([]),
    receivers: z.record(nameSchema('receiver'), receiverSchema),
    /** May be left out when there is one receiver only. */
    default_receiver: nameSchema('receiver').optional(),
    max_transfers: z.int().min(1).max(64).default(2),
    stall_timeout: timeoutSchema.default(600_000),
    /** How long a replaced image is kept in the trash. */
    trash_expiry: durationSchema.default(7 * 86_400_000),
    keep_jobs: durationSchema.default(90 * 86_400_000),
    /** Off when left out. */
    metrics: metricsSchema.optional(),
    wire: wireSchema,
    log_level: logLevelSchema,
  })
  .superRefine((config, context) => {
    const names = Object.keys(config.receivers);
    if (names.length === 0) {
      context.addIssue({ code: 'custom', path: ['receivers'], message: 'expected at least one receiver' });
    }
    const wanted = config.default_receiver;
    if (wanted !== undefined && !names.includes(wanted)) {
      context.addIssue({
        code: 'custom',
        path: ['default_receiver'],
        message: `there is no receiver ${JSON.stringify(wanted)} under receivers`,
      });
    }
    if (wanted === undefined && names.length > 1) {
      context.addIssue({ code: 'custom', path: ['receivers'], message: 'several receivers need a default_receiver' });
    }
  });

export type AgentConfig = z.infer<typeof agentConfigSchema>;
export type ReceiverConfig = AgentConfig['receivers'][string];
