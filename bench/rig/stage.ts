import { startCluster, type Cluster } from '@rbdferry/test/dist/ceph/cluster.js';
import { GiB } from './content.js';
import { startFerry, type Ferry, type FerryOptions } from './ferry.js';
import { backupPool, sourcePool, type Site } from './site.js';
import { startSshServer, warmUp, type SshServer } from './ssh-server.js';

/** Two clusters, the two daemons, and an ssh server: all that a comparison needs. */
export interface Stage {
  readonly source: Site;
  readonly backup: Site;
  readonly ferry: Ferry;
  readonly ssh: SshServer;
}

const memstoreBytes = 12 * GiB;

/** In memory, and with monitors that do not gather changes for a second. */
export const startClusters = async (log: (line: string) => void): Promise<[source: Cluster, backup: Cluster]> =>
  Promise.all([
    startCluster({ name: 'source', pools: [sourcePool], memstoreBytes, log }),
    startCluster({ name: 'backup', pools: [backupPool], memstoreBytes, log }),
  ]);

type Stop = () => Promise<unknown>;

/** Starts what clients of two clusters need, hands it over, and takes it down whatever happens. */
export const withClients = <T>(options: FerryOptions, use: (stage: Stage) => Promise<T>): Promise<T> =>
  tidily(async (stops) => {
    const { source, backup } = options;
    const ssh = await startSshServer(options.dir, { host: options.host });
    stops.push(ssh.stop);
    await warmUp(ssh);
    const ferry = await startFerry(options);
    stops.push(ferry.stop);
    return use({ source, backup, ferry, ssh });
  });

export type StageOptions = Omit<FerryOptions, 'source' | 'backup'> & { readonly log: (line: string) => void };

/** The same with clusters of its own, on loopback. */
export const withStage = <T>(options: StageOptions, use: (stage: Stage) => Promise<T>): Promise<T> =>
  tidily(async (stops) => {
    const [source, backup] = await startClusters(options.log);
    stops.push(source.stop, backup.stop);
    return withClients({ ...options, source, backup }, use);
  });

/** Stops in the end what was started, the last first. */
const tidily = async <T>(use: (stops: Stop[]) => Promise<T>): Promise<T> => {
  const stops: Stop[] = [];
  try {
    return await use(stops);
  } finally {
    for (const stop of stops.reverse()) await stop();
  }
};
