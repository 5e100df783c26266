import type { Command } from '@commander-js/extra-typings';

/** The whole tree; its options go before or behind any verb. */
export type Program = Command<[], { socket: string }>;

/** The `job` command, which holds verbs of its own. */
export type JobCommand = Command<[], {}, { socket: string }>;

/** Adds a verb to the tree. */
export type AddVerb = (program: Program) => void;

/** Adds a verb to `job`. */
export type AddJobVerb = (job: JobCommand, program: Program) => void;
