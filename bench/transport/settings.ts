import { z } from 'zod';

/** What the two processes of the transport case get on their command line, as JSON. */
const tls = z.strictObject({ ca: z.string(), cert: z.string(), key: z.string() });

export const receiverSettings = z.strictObject({ tls, windowBytes: z.number().optional() });
export type ReceiverSettings = z.infer<typeof receiverSettings>;

export const agentSettings = z.strictObject({ tls, port: z.number(), bytes: z.number() });
export type AgentSettings = z.infer<typeof agentSettings>;

/** What the agent's side prints at its end. CPU of this process only while it sent. */
export const agentAnswer = z.object({ seconds: z.number(), cpuSeconds: z.number(), peakBytes: z.number() });
