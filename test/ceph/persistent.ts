import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startCluster, type Cluster, type StartOptions } from './cluster.js';
import { ClusterError } from './cluster-error.js';

/** What is remembered of a cluster that outlives the process that started it. */
export interface PersistentCluster {
  readonly name: string;
  readonly dir: string;
  readonly fsid: string;
  readonly confPath: string;
  readonly keeperPid: number;
  readonly users: Cluster['users'];
}

const STATE_DIR = path.join(homedir(), '.cache', 'rbdferry-test-clusters');
const DOWN_TIMEOUT_MS = 30_000;

/** Starts a cluster that runs until `downCluster(name)`. @throws ClusterError if it runs already */
export async function upCluster(options: StartOptions): Promise<PersistentCluster> {
  const { name } = options;
  if ((await findCluster(name)) !== undefined) {
    throw new ClusterError(`cluster "${name}" is up already`);
  }
  const cluster = await startCluster(options);
  try {
    const { dir, fsid, confPath, keeperPid, users } = cluster;
    const state: PersistentCluster = { name, dir, fsid, confPath, keeperPid, users };
    await mkdir(STATE_DIR, { recursive: true });
    await writeFile(stateFile(name), JSON.stringify(state, undefined, 2));
    await cluster.persist();
    return state;
  } catch (error) {
    await cluster.stop();
    await rm(stateFile(name), { force: true });
    throw error;
  }
}

/** Stops a persistent cluster and removes its data. @throws ClusterError if there is none */
export async function downCluster(name: string): Promise<void> {
  const cluster = await findCluster(name);
  if (cluster === undefined) throw new ClusterError(`there is no cluster "${name}"`);
  process.kill(cluster.keeperPid, 'SIGTERM');
  const deadline = Date.now() + DOWN_TIMEOUT_MS;
  while (await isKeeperOf(cluster)) {
    if (Date.now() > deadline) {
      throw new ClusterError(`keeper ${cluster.keeperPid} of cluster "${name}" does not end`);
    }
    await sleep(50);
  }
  await rm(stateFile(name), { force: true });
}

/** The persistent clusters that run now; forgets those that do not. */
export async function listClusters(): Promise<PersistentCluster[]> {
  const files = await readdir(STATE_DIR).catch(() => []);
  const found = await Promise.all(files.map((file) => findCluster(path.basename(file, '.json'))));
  return found.filter((cluster) => cluster !== undefined);
}

async function findCluster(name: string): Promise<PersistentCluster | undefined> {
  const file = stateFile(name);
  const text = await readFile(file, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const state = JSON.parse(text) as PersistentCluster; // our own file
  if (await isKeeperOf(state)) return state;
  await rm(file, { force: true });
  return undefined;
}

/** Whether the process of that id still is this cluster's keeper: ids are used again. */
async function isKeeperOf({ keeperPid, dir }: PersistentCluster): Promise<boolean> {
  const read = (file: string) => readFile(file, 'utf8').catch(() => '');
  const [argv, claim] = await Promise.all([read(`/proc/${keeperPid}/cmdline`), read(path.join(dir, 'keeper.pid'))]);
  if (!argv.includes('keeper.mjs')) return false;
  return claim === '' || claim === String(keeperPid);
}

function stateFile(name: string): string {
  if (!/^[\w.-]+$/.test(name)) {
    throw new ClusterError(`cluster name "${name}" has other characters than A-Z a-z 0-9 _ . -`);
  }
  return path.join(STATE_DIR, `${name}.json`);
}
