import { formatSelfTimes, selfTimes } from './cpu-profile.js';

/** `node bench/dist/profile/top-functions.js FILE.cpuprofile...`: the 25 functions with the most self time. */
for (const path of process.argv.slice(2)) {
  console.log(path);
  console.log(formatSelfTimes(await selfTimes(path), 25).join('\n'));
}
