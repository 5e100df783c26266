import { randomUUID } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ClusterError } from './cluster-error.js';
import { runCommand } from './command.js';
import { MON_ADDRESS, renderConf, type ConfOptions } from './conf.js';
import type { Keeper } from './keeper.js';
import { newKey, rbdCaps, renderKeyring, type Caps, type KeyringEntry } from './keyring.js';

export interface BringUpOptions extends Omit<ConfOptions, 'dir' | 'fsid'> {
  readonly manager: boolean;
  readonly osds: number;
}

/** A cluster whose daemons run and serve. */
export interface RunningCluster {
  readonly fsid: string;
  readonly confPath: string;
}

interface Steps {
  readonly keeper: Keeper;
  readonly options: BringUpOptions;
  readonly fsid: string;
  readonly confPath: string;
  readonly run: (program: string, args: readonly string[]) => Promise<{ stdout: string }>;
}

const BRING_UP_TIMEOUT_MS = 60_000;
const OSD_CAPS: Caps = { mon: 'allow profile osd', mgr: 'allow profile osd', osd: 'allow *' };
const ADMIN_CAPS: Caps = { mon: 'allow *', mgr: 'allow *', osd: 'allow *', mds: 'allow *' };
const MANAGER_CAPS: Caps = { mon: 'allow profile mgr', osd: 'allow *', mds: 'allow *' };

/**
 * Makes and starts one monitor, the OSDs and, if asked for, a manager in the keeper's directory.
 * @throws ClusterError as soon as a command fails or a daemon ends, and after 60 s
 */
export async function bringUp(keeper: Keeper, options: BringUpOptions): Promise<RunningCluster> {
  const steps = prepare(keeper, options);
  const osds = Array.from({ length: options.osds }, (_, id) => ({ id, uuid: randomUUID() }));

  await writeFile(steps.confPath, renderConf({ ...options, dir: keeper.dir, fsid: steps.fsid }));
  await writeKeyrings(steps);
  await startMon(steps);
  await Promise.all(osds.map((osd) => makeOsdStore(steps, osd)));
  // In this order: the monitor hands out the ids 0, 1, 2...
  for (const { uuid } of osds) await admin(steps, ['osd', 'new', uuid]);
  for (const { id } of osds) {
    await keeper.startDaemon(`osd.${id}`, ['ceph-osd', '-f', '-i', `${id}`, '-c', steps.confPath]);
  }
  if (options.manager) {
    await keeper.startDaemon('mgr.x', ['ceph-mgr', '-f', '-i', 'x', '-c', steps.confPath]);
  }
  await Promise.all([osdsUp(steps), options.manager && managerAvailable(steps)]);
  return { fsid: steps.fsid, confPath: steps.confPath };
}

function prepare(keeper: Keeper, options: BringUpOptions): Steps {
  const signal = AbortSignal.any([keeper.failed, AbortSignal.timeout(BRING_UP_TIMEOUT_MS)]);
  return {
    keeper,
    options,
    fsid: randomUUID(),
    confPath: path.join(keeper.dir, 'ceph.conf'),
    run: (program, args) => runCommand(program, args, { signal }),
  };
}

async function writeKeyrings({ keeper, options }: Steps): Promise<void> {
  const clientCaps = rbdCaps([], options);
  const entries: KeyringEntry[] = [
    ['client.admin', ADMIN_CAPS] as const,
    ['client.agent', clientCaps] as const,
    ['client.receiver', clientCaps] as const,
    ['mgr.x', MANAGER_CAPS] as const,
    ...Array.from({ length: options.osds }, (_, id) => [`osd.${id}`, OSD_CAPS] as const),
  ].map(([entity, caps]) => ({ entity, caps, key: newKey() }));

  for (const entry of entries) await writeKeyring(keeper.dir, entry);
  // `ceph-mon --mkfs` takes all of them into its database: no `ceph auth` command for each.
  const mon: KeyringEntry = { entity: 'mon.', key: newKey(), caps: { mon: 'allow *' } };
  await writeFile(path.join(keeper.dir, 'seed.keyring'), renderKeyring([mon, ...entries]), {
    mode: 0o600,
  });
}

/** Where the keyring of one entity (`client.agent`) lies. */
export function keyringPath(dir: string, entity: string): string {
  return path.join(dir, `${entity}.keyring`);
}

/** Writes one entity's key, without caps, as a client needs it. */
export async function writeKeyring(
  dir: string,
  { entity, key }: Pick<KeyringEntry, 'entity' | 'key'>,
): Promise<string> {
  const file = keyringPath(dir, entity);
  await writeFile(file, renderKeyring([{ entity, key, caps: {} }]), { mode: 0o600 });
  return file;
}

async function startMon({ keeper, options, fsid, confPath, run }: Steps): Promise<void> {
  const monmap = path.join(keeper.dir, 'monmap');
  const seed = path.join(keeper.dir, 'seed.keyring');
  const address = `[v2:${MON_ADDRESS}:${options.port}]`;
  await run('monmaptool', ['--create', '--fsid', fsid, '--addv', 'a', address, monmap]);
  const mon = ['-i', 'a', '-c', confPath];
  await run('ceph-mon', ['--mkfs', ...mon, '--monmap', monmap, '--keyring', seed]);
  await keeper.startDaemon('mon.a', ['ceph-mon', '-f', ...mon]);
}

async function makeOsdStore(
  { keeper, confPath, run }: Steps,
  { id, uuid }: { id: number; uuid: string },
): Promise<void> {
  await mkdir(path.join(keeper.dir, `osd.${id}`));
  // The same UUID as for `osd new`: with another one the monitor ignores the OSD's boot for ever.
  const args = ['--mkfs', '-i', `${id}`, '-c', confPath, '--osd-uuid', uuid, '--no-mon-config'];
  await run('ceph-osd', args);
}

async function osdsUp(steps: Steps): Promise<void> {
  const wanted = steps.options.osds;
  await until(async () => {
    const stat = JSON.parse(await admin(steps, ['osd', 'stat'])) as { num_up_osds?: number };
    return stat.num_up_osds === wanted;
  });
}

async function managerAvailable(steps: Steps): Promise<void> {
  await until(async () => {
    const stat = JSON.parse(await admin(steps, ['mgr', 'stat'])) as { available?: boolean };
    return stat.available === true;
  });
}

async function admin({ confPath, run }: Steps, args: readonly string[]): Promise<string> {
  return (await run('ceph', ['-c', confPath, '--format', 'json', ...args])).stdout;
}

/** Polls until `isDone`; the commands inside it carry the deadline. */
async function until(isDone: () => Promise<boolean>): Promise<void> {
  while (!(await isDone())) await sleep(50);
}

/** Says what a failed bring-up needs for its diagnosis. */
export function bringUpError(reason: unknown, logTail: string): ClusterError {
  const fact = reason instanceof Error ? reason.message : String(reason);
  return new ClusterError(`the test cluster did not come up: ${fact}\n${logTail}`);
}
