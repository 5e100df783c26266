import type { Cluster } from '../ceph/cluster.js';

/** Names of an image's snapshots, oldest first, as Ceph itself says. */
export const snapNames = async (cluster: Cluster, image: string): Promise<string[]> => {
  const { stdout } = await cluster.rbd(['snap', 'ls', '--format', 'json', image]);
  return (JSON.parse(stdout) as { name: string }[]).map((snap) => snap.name);
};

/** Names of the images in a pool. */
export const imageNames = async (cluster: Cluster, pool: string): Promise<string[]> => {
  const { stdout } = await cluster.rbd(['ls', '--format', 'json', pool]);
  return JSON.parse(stdout) as string[];
};
