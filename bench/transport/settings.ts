import { z } from 'zod';

/** What the two processes of the transport case get on their command line, as JSON. */
const tls = z.strictObject({ ca: z.string(), cert: z.string(), key: z.string() });

/** An image, or a snapshot of one, and the cluster where it is. */
const end = z.strictObject({ conf: z.string(), user: z.string(), keyring: z.string(), image: z.string() });
export type End = z.infer<typeof end>;

/** `into`: the image that `rbd import-diff` makes of what comes; left out, it is thrown away. */
export const receiverSettings = z.strictObject({ tls, windowBytes: z.number().optional(), into: end.optional() });
export type ReceiverSettings = z.infer<typeof receiverSettings>;

/** `from`: the snapshot whose full diff is sent; left out, so many bytes from memory. */
export const agentSettings = z.strictObject({
  tls,
  port: z.number(),
  bytes: z.number(),
  from: z.strictObject({ ...end.shape, snap: z.string() }).optional(),
});
export type AgentSettings = z.infer<typeof agentSettings>;

/** What the agent's side prints at its end. CPU of this process only while it sent. */
export const agentAnswer = z.object({ seconds: z.number(), cpuSeconds: z.number(), peakBytes: z.number() });
