import { once } from 'node:events';
import { startClusters } from '../rig/stage.js';

/** Runs two clusters until its input ends; prints how to reach them. */
const [source, backup] = await startClusters((line) => {
  console.error(line);
});
const { confPath, users } = source;
console.log(
  JSON.stringify({ source: { confPath, users }, backup: { confPath: backup.confPath, users: backup.users } }),
);
process.stdin.resume();
await once(process.stdin, 'end');
await Promise.all([source.stop(), backup.stop()]);
