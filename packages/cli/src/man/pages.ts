import { createProgram } from '../program.js';
import { createOldProgram } from '../rbd-backup/program.js';
import { manPage } from './man-page.js';

const environment = [
  'ENVIRONMENT',
  "RBDFERRY_SOCKET: path of the agent's socket.",
  'NO_COLOR: no colours, whatever its value.',
] as const;

const pages: Readonly<Record<string, () => Promise<string> | string>> = {
  'rbdferry.1': async () =>
    manPage(await createProgram(), {
      purpose: 'back up Ceph RBD images, and restore them',
      more: [environment],
      seeAlso: ['rbd_backup(1)', 'rbd(8)', 'rbdferry-agent(8)', 'rbdferry-receiver(8)'],
    }),
  'rbd_backup.1': () =>
    manPage(createOldProgram(), {
      purpose: 'the command line of rbd_backup.py on top of rbdferry',
      more: [
        [
          'ENVIRONMENT',
          "RBDFERRY_SOCKET: path of the agent's socket.",
          'RBDFERRY_RECEIVER: the receiver, whatever -d says: for scripts that pass the name of a host.',
        ],
      ],
      seeAlso: ['rbdferry(1)', 'rbdferry-agent(8)'],
    }),
};

export const manPages = Object.keys(pages);

/** A page by its file name. */
export const makeManPage = async (name: string): Promise<string | undefined> => pages[name]?.();
