import { parseArgs } from 'node:util';
import { ClusterError } from './cluster-error.js';
import { ensureCeph } from './install.js';
import { downCluster, listClusters, upCluster, type PersistentCluster } from './persistent.js';

const USAGE = `usage: node test/dist/ceph/cli.js up NAME [--manager] [--bluestore] [--osds N] [--pool POOL]...
       node test/dist/ceph/cli.js down NAME
       node test/dist/ceph/cli.js list`;

async function main(args: string[]): Promise<void> {
  const { positionals, values } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      manager: { type: 'boolean', default: false },
      bluestore: { type: 'boolean', default: false },
      osds: { type: 'string', default: '1' },
      pool: { type: 'string', multiple: true, default: ['rbd'] },
    },
  });
  const [verb, name] = positionals;
  if (verb === 'list') return print(await listClusters());
  if (name === undefined) throw new ClusterError(USAGE);
  if (verb === 'down') return downCluster(name);
  if (verb !== 'up') throw new ClusterError(USAGE);

  await ensureCeph();
  const cluster = await upCluster({
    name,
    manager: values.manager,
    objectStore: values.bluestore ? 'bluestore' : 'memstore',
    osds: Number(values.osds),
    pools: values.pool,
    log: console.error,
  });
  print([cluster]);
}

function print(clusters: readonly PersistentCluster[]): void {
  for (const { name, fsid, confPath, users } of clusters) {
    console.log(`${name}\n  fsid     ${fsid}\n  conf     ${confPath}`);
    for (const user of Object.values(users)) {
      console.log(`  ${user.name.padEnd(8)} ${user.keyringPath}`);
    }
    console.log(`  try      rbd --conf ${confPath} --id admin ls POOL`);
  }
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
