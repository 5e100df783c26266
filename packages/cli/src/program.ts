import { Command, Option } from '@commander-js/extra-typings';
import { addBackup } from './commands/backup.js';
import { addCancel } from './commands/cancel.js';
import { addComplete } from './commands/complete.js';
import { addCompletion } from './commands/completion.js';
import { addDelete } from './commands/delete.js';
import { addDu } from './commands/du.js';
import { addDump } from './commands/dump.js';
import { addJob } from './commands/job.js';
import { addJobs } from './commands/jobs.js';
import { addList } from './commands/list.js';
import { addMan } from './commands/man.js';
import { addPki } from './commands/pki.js';
import { addReport } from './commands/report.js';
import { addRestore } from './commands/restore.js';
import { addVersion } from './commands/version.js';
import { defaultSocket, examples } from './options.js';
import type { AddVerb } from './verb.js';

const exitStatuses = `
Exit status: 0 when it was done, 2 for a wrong command line, 130 when cancelled; each error has a code of its own on stderr
and its own status (docs/errors.md). stdout carries the result and nothing else.`;

/**
 * The tree of verbs. Verbs load what they need when they run, so that building the tree costs next to nothing.
 *
 * Nothing in it ends the process: wrong usage throws a CommanderError after its message is written.
 */
export const createProgram = () => {
  const program = new Command('rbdferry')
    .description(
      'Backs up Ceph RBD images to another cluster, and restores them. Talks to the rbdferry-agent of this machine.',
    )
    .addOption(new Option('--socket <PATH>', "the agent's socket").env('RBDFERRY_SOCKET').default(defaultSocket))
    .configureHelp({ showGlobalOptions: true })
    .exitOverride()
    .addHelpText('after', examples('backup rbd/vm1', 'list rbd/vm1', 'jobs --active', '--version'))
    .addHelpText('after', exitStatuses);
  for (const add of verbs) add(program);
  return program;
};

const verbs: AddVerb[] = [
  addBackup,
  addRestore,
  addList,
  addDump,
  addDelete,
  addDu,
  addReport,
  addJobs,
  addJob,
  addCancel,
  addPki,
  addCompletion,
  addVersion,
  addComplete,
  addMan,
];
