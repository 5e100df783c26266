import { Command, Option } from '@commander-js/extra-typings';
import { defaultSocket } from '../agent.js';
import { endWith } from '../end-with.js';
import { operationOf, operations, type OldOptions } from './operation.js';

const help = `
Operations:
  backup              back up (-p -i -r -m); prints the id of the backup
  restore             restore -s as the image -p -i, which must not exist
  delete              delete the backup -s, or with -n all but the newest N chains of -p -i in -r
  dump                show the chains of -p -i in -r, as the old tool's log did, on stderr
  du                  print what the backups of -p -i in -r take up, in MB
  du_snap             print what the backup -s added, in MB
  query_backup        print how far the backup -s is in per cent: 100 when it is done, -1 when it failed
  query_restore       the same of a restore of -s
  cancel              cancel the backup or restore of -s
  delete_local_snaps  delete the snapshots on -p -i that the next increment would build on

Examples:
  $ rbd_backup -p rbd -i vm1 -r rbd2 -d dr -o backup -m full
  $ rbd_backup -p rbd -i vm1 -r rbd2 -d dr -o restore -s ID
  $ rbd_backup -p rbd -i vm1 -r rbd2 -d dr -o du

The options of rbd_backup.py on top of rbdferry; docs/rbd_backup.md says what differs. stdout carries the result and nothing
else. Exit status: 0 when it was done, else the number of the error (docs/errors.md).`;

/** `rbd_backup`: the command line of the older tool. */
export const createOldProgram = () => {
  const program = new Command('rbd_backup')
    .description('Backs up Ceph RBD images, and restores them, with the command line of rbd_backup.py.')
    .option('-p, --pool <POOL>', 'pool of the image')
    .option('-i, --image <IMAGE>', 'name of the image')
    .option('-m, --mode <MODE>', 'full, or incr: an increment on the newest backup')
    .addOption(new Option('-o, --op <OPERATION>', 'what to do').choices(operations).makeOptionMandatory())
    .option('-r, --remote <STORE>', 'backup pool: the store of the receiver')
    .option('-s, --from-snap <ID>', 'id of a backup')
    .option('-n, --number_of_copies_to_keep <N>', 'keep the newest N chains, 0 for all (with -m full: when it is done)')
    .option('-u, --user <USER>', 'ignored: there is no ssh any more')
    .option(
      '-d, --destination-host <RECEIVER>',
      "a receiver of the agent's configuration, or the host in its address (RBDFERRY_RECEIVER overrides it)",
    )
    .option('-a, --async', 'backup and restore: return at once')
    .addOption(new Option('--socket <PATH>', "the agent's socket").env('RBDFERRY_SOCKET').default(defaultSocket))
    .exitOverride()
    .addHelpText('after', help);
  program.action(async (options) => {
    const operation = operationOf(options);
    const { runOperation } = await import('./run-operation.js');
    endWith(await runOperation(program, operation, contextOf(options)));
  });
  return program;
};

const contextOf = ({ user, destinationHost }: OldOptions) => ({ user, destination: destinationHost });
