import { existsSync } from 'node:fs';
import { applyWrites, randomBytes, sha256OfExport } from '../ceph/cluster.js';
import { ensureCeph } from '../ceph/install.js';
import { cliPath } from '../harness/daemon.js';
import { startPair, type Pair } from '../harness/pair.js';
import { runInTerminal, say, step } from './narrate.js';

/** The main job, on two real clusters, as an operator would do it: `npm run demo`. */
const MiB = 1024 * 1024;
const image = 'rbd/vm1';

const main = async (): Promise<void> => {
  step('two throw-away Ceph clusters, a receiver on one, an agent on the other');
  await ensureCeph({ log: say });
  const pair = await startPair({ name: 'demo', log: say });
  const end = async (): Promise<void> => {
    step('taking it all down');
    await pair.stop();
    say(`${pair.dir} is gone: ${String(!existsSync(pair.dir))}`);
  };
  process.once('SIGINT', () => {
    void end().finally(() => process.exit(130));
  });
  try {
    await show(pair);
  } finally {
    await end();
  }
};

const show = async (pair: Pair): Promise<void> => {
  const ferry = (...args: string[]) =>
    runInTerminal('rbdferry', [process.execPath, cliPath, '--socket', pair.socket], args);
  const rbd = async (...args: string[]): Promise<void> => {
    say(`$ rbd ${args.join(' ')}`);
    const { stdout } = await pair.source.rbd(args);
    if (stdout.trim() !== '') say(stdout.trimEnd());
  };
  const hash = async (what: string, cluster: Pair['source'], spec: string): Promise<string> => {
    const digest = await sha256OfExport(cluster, spec);
    say(`SHA-256 ${digest}  ${what}`);
    return digest;
  };

  step('an image of 1 GiB with 300 MiB of data');
  await rbd('create', '--size', '1G', image);
  await applyWrites(pair.source, image, [
    { offset: 0, data: randomBytes('demo', 200 * MiB) },
    { offset: 700 * MiB, data: randomBytes('more', 100 * MiB) },
  ]);

  step('a full backup, then two increments');
  await ferry('backup', image, '--mode', 'full');
  await applyWrites(pair.source, image, [
    { offset: 500 * MiB, data: randomBytes('first increment', 20 * MiB) },
    { offset: 10 * MiB, zero: 8 * MiB },
  ]);
  await ferry('backup', image);
  const middle = await hash('the image as it is now', pair.source, image);
  await applyWrites(pair.source, image, [{ offset: 900 * MiB, data: randomBytes('second increment', 5 * MiB) }]);
  const last = (await ferry('backup', image)).trim();
  const before = await hash('the image as it is now', pair.source, image);
  await ferry('list', image);

  step('the image is destroyed');
  await rbd('snap', 'purge', '--no-progress', image);
  await rbd('rm', '--no-progress', image);
  await rbd('ls', 'rbd');

  step('and comes back, bit for bit');
  await ferry('restore', last);
  verdict(before, await hash('the restored image', pair.source, image));

  step('an older point, under another name');
  const listed = await pair.ok('list', image, '--json');
  const [chain] = JSON.parse(listed) as { backups: { id: string }[] }[];
  await ferry('restore', chain?.backups[1]?.id ?? '', '--to', 'rbd/vm1-yesterday');
  verdict(middle, await hash('the older point', pair.source, 'rbd/vm1-yesterday'));

  step('the chain goes on: the next backup of the restored image is an increment');
  await applyWrites(pair.source, image, [{ offset: 123 * MiB, data: randomBytes('after', 2 * MiB) }]);
  const next = (await ferry('backup', image, '--mode', 'incr')).trim();
  verdict(
    await hash('the image', pair.source, `${image}@${next.slice(next.indexOf('@') + 1)}`),
    await hash('its backup', pair.backup, next),
  );
  await ferry('list', image);
};

const verdict = (expected: string, actual: string): void => {
  if (expected !== actual) throw new Error('the bytes differ');
  say('equal, byte for byte');
};

await main();
