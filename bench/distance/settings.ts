import { z } from 'zod';
import { patternNames } from '../rig/patterns.js';

const user = z.object({ name: z.string(), keyringPath: z.string() });

const site = z.object({ confPath: z.string(), users: z.object({ admin: user, agent: user, receiver: user }) });

/** What the process beside the clusters prints when they are up. */
export const sites = z.object({ source: site, backup: site });

/** What the process on the clients' side gets, as JSON. */
export const clientSettings = z.object({
  sites,
  dir: z.string(),
  rounds: z.number(),
  quick: z.boolean(),
  roundTripMs: z.number(),
  pattern: z.enum(patternNames),
  adapter: z.string().optional(),
});
export type ClientSettings = z.infer<typeof clientSettings>;
