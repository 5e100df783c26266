import type { AddVerb } from './verb.js';

/** A verb as the help of the whole command knows it, and the way to all of it. */
export interface Verb {
  readonly name: string;
  /** What stands behind the name in the list of verbs. */
  readonly usage: string;
  /** Null for one that the help does not list. */
  readonly summary: string | null;
  readonly load: () => Promise<AddVerb>;
}

/** In the order of the help. Each is loaded when it is asked for: a file costs about as much as a hundredth of Node's own start. */
export const verbs: readonly Verb[] = [
  {
    name: 'backup',
    usage: '[options] [IMAGE...]',
    summary: 'back up images',
    load: async () => (await import('./commands/backup.js')).addBackup,
  },
  {
    name: 'restore',
    usage: '[options] [WHAT]',
    summary: 'restore a backup',
    load: async () => (await import('./commands/restore.js')).addRestore,
  },
  {
    name: 'list',
    usage: '[options] [IMAGE]',
    summary: 'list chains and their backups',
    load: async () => (await import('./commands/list.js')).addList,
  },
  {
    name: 'dump',
    usage: '[options] [IMAGE]',
    summary: 'show chains with everything known of their backups',
    load: async () => (await import('./commands/dump.js')).addDump,
  },
  {
    name: 'delete',
    usage: '[options] [WHAT...]',
    summary: 'delete backups',
    load: async () => (await import('./commands/delete.js')).addDelete,
  },
  {
    name: 'prune',
    usage: '[options] [IMAGE...]',
    summary: 'delete the backups that no keep rule keeps',
    load: async () => (await import('./commands/prune.js')).addPrune,
  },
  {
    name: 'hold',
    usage: '[options] <ID>',
    summary: 'keep a backup from being deleted',
    load: async () => (await import('./commands/hold.js')).addHold,
  },
  {
    name: 'release',
    usage: '[options] <ID>',
    summary: 'take a hold off a backup',
    load: async () => (await import('./commands/release.js')).addRelease,
  },
  {
    name: 'du',
    usage: '[options] [WHAT]',
    summary: 'show what backups take up',
    load: async () => (await import('./commands/du.js')).addDu,
  },
  {
    name: 'report',
    usage: '[options]',
    summary: 'report usage per client, pool and image',
    load: async () => (await import('./commands/report.js')).addReport,
  },
  {
    name: 'jobs',
    usage: '[options]',
    summary: 'list jobs',
    load: async () => (await import('./commands/jobs.js')).addJobs,
  },
  {
    name: 'job',
    usage: '',
    summary: 'show, watch, wait for or cancel one job',
    load: async () => (await import('./commands/job.js')).addJob,
  },
  {
    name: 'cancel',
    usage: '[options] <JOB>',
    summary: 'cancel a job',
    load: async () => (await import('./commands/cancel.js')).addCancel,
  },
  {
    name: 'pki',
    usage: '',
    summary: 'make a private CA and certificates',
    load: async () => (await import('./commands/pki.js')).addPki,
  },
  {
    name: 'completion',
    usage: '<SHELL>',
    summary: 'print a script for completion in a shell',
    load: async () => (await import('./commands/completion.js')).addCompletion,
  },
  {
    name: 'version',
    usage: '[options]',
    summary: 'print the versions of the command and of the agent',
    load: async () => (await import('./commands/version.js')).addVersion,
  },
  {
    name: '__complete',
    usage: '',
    summary: null,
    load: async () => (await import('./commands/complete.js')).addComplete,
  },
  { name: '__man', usage: '', summary: null, load: async () => (await import('./commands/man.js')).addMan },
];
