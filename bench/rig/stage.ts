import { startCluster, type Cluster } from '@rbdferry/test/dist/ceph/cluster.js';
import { GiB } from './content.js';
import { startFerry, type Ferry, type FerryOptions } from './ferry.js';
import { backupPool, sourcePool } from './site.js';
import { startSshServer, warmUp, type SshServer } from './ssh-server.js';

/** Two clusters in memory, the two daemons, and an ssh server: all that a comparison needs, on loopback. */
export interface Stage {
  readonly source: Cluster;
  readonly backup: Cluster;
  readonly ferry: Ferry;
  readonly ssh: SshServer;
}

export type StageOptions = Omit<FerryOptions, 'source' | 'backup'> & { readonly log: (line: string) => void };

const memstoreBytes = 12 * GiB;

export const startClusters = async (log: (line: string) => void): Promise<[source: Cluster, backup: Cluster]> =>
  Promise.all([
    startCluster({ name: 'source', pools: [sourcePool], memstoreBytes, log }),
    startCluster({ name: 'backup', pools: [backupPool], memstoreBytes, log }),
  ]);

/** Builds a stage, hands it over, and takes it down whatever happens. */
export const withStage = async <T>(options: StageOptions, use: (stage: Stage) => Promise<T>): Promise<T> => {
  const stops: (() => Promise<unknown>)[] = [];
  try {
    const [source, backup] = await startClusters(options.log);
    stops.push(source.stop, backup.stop);
    const ssh = await startSshServer(options.dir, options.log);
    stops.push(ssh.stop);
    await warmUp(ssh);
    const ferry = await startFerry({ ...options, source, backup });
    stops.push(ferry.stop);
    return await use({ source, backup, ferry, ssh });
  } finally {
    for (const stop of stops.reverse()) await stop();
  }
};
