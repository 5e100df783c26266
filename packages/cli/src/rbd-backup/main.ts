import { runRbdBackup } from './run-rbd-backup.js';

process.exitCode = await runRbdBackup(process.argv.slice(2));
