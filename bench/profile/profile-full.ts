import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { BackupMode } from '@rbdferry/core/gen/rbdferry/v1/control.js';
import { measureJob } from '../cases/backups.js';
import { GiB, MiB } from '../rig/content.js';
import { startFerry } from '../rig/ferry.js';
import { fill } from '../rig/fill.js';
import { patternOf } from '../rig/patterns.js';
import { quote } from '../rig/shell.js';
import { makeShim } from '../rig/shim.js';
import { rbd, sourcePool } from '../rig/site.js';
import { startClusters } from '../rig/stage.js';
import { formatSelfTimes, selfTimes } from './cpu-profile.js';

// From bench/dist/profile.
const results = fileURLToPath(new URL('../../results', import.meta.url));
const image = `${sourcePool}/vm`;

/** Where agent and receiver spend their time during a full backup of incompressible data. */
export const profileFull = async (options: {
  readonly dir: string;
  readonly quick: boolean;
  readonly adapter: string | undefined;
  readonly log: (line: string) => void;
}): Promise<void> => {
  const folder = join(results, `profile-${Date.now()}`);
  /** Where the launcher finds `node`: one that profiles, which NODE_OPTIONS may not ask for. */
  const profiled = async (who: string) => {
    const where = quote(join(folder, who));
    const script = `exec "$real" --cpu-prof --cpu-prof-interval=500 --cpu-prof-dir=${where} "$@"`;
    return (await makeShim(join(options.dir, `node-${who}`), { node: script })).env;
  };
  await mkdir(folder, { recursive: true });
  const [source, backup] = await startClusters(options.log);
  try {
    const pattern = patternOf('incompressible', options.quick ? 256 * MiB : GiB);
    await rbd(source, 'agent', ['create', `--size=${pattern.imageBytes}B`, image]);
    await fill(source, image, { extents: pattern.base, filling: pattern.filling, seed: 'profile' });
    const ferry = await startFerry({
      dir: options.dir,
      source,
      backup,
      adapter: options.adapter,
      agentEnv: await profiled('agent'),
      receiverEnv: await profiled('receiver'),
    });
    const sample = await measureJob(ferry, () => ferry.control.backup(image, BackupMode.FULL));
    await ferry.stop();
    console.log(JSON.stringify(sample, undefined, 2));
  } finally {
    await Promise.all([source.stop(), backup.stop()]);
  }
  for (const who of ['agent', 'receiver']) await print(join(folder, who), who);
};

const print = async (folder: string, who: string): Promise<void> => {
  for (const file of await readdir(folder)) {
    console.log(`${who}: ${join(folder, file)}`);
    console.log(formatSelfTimes(await selfTimes(join(folder, file)), 25).join('\n'));
  }
};
