import { runRbdferry } from './run-rbdferry.js';

process.exitCode = await runRbdferry(process.argv.slice(2));
