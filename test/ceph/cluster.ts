import { readFile, readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { bringUp, bringUpError, keyringPath, writeKeyring } from './bring-up.js';
import type { BringUpOptions, RunningCluster } from './bring-up.js';
import { ClusterError } from './cluster-error.js';
import { runCommand, type CommandOptions } from './command.js';
import { Keeper, describeExit } from './keeper.js';
import { capsArgs, rbdCaps, type Caps } from './keyring.js';
import { chooseFreePort } from './port.js';

export { ClusterError } from './cluster-error.js';
export type { Caps } from './keyring.js';
export { applyWrites, randomBytes, sha256OfExport, writeAt, type ImageWrite } from './image-content.js';

export interface StartOptions {
  /** For messages only: two clusters may have the same. */
  readonly name: string;
  /** Default `memstore`. */
  readonly objectStore?: 'memstore' | 'bluestore';
  /** Runs a ceph-mgr as well (300 MB, some seconds), for `ceph df` and quotas. Default false. */
  readonly manager?: boolean;
  /** Default 1; erasure-coded pools need 3. */
  readonly osds?: number;
  /** Size that each memstore OSD claims to have; default 4 GiB. Memory is used as it fills. */
  readonly memstoreBytes?: number;
  /** Size of each bluestore OSD's sparse file; default 40 GB. */
  readonly bluestoreBytes?: number;
  /** Pools made at once, with rights for the agent and the receiver. */
  readonly pools?: readonly string[];
  /** Default true: monitors do not gather changes for a second. Say so beside a benchmark. */
  readonly fastPaxos?: boolean;
  /** Where the cluster's directory is made; default the system's temporary directory. Keep it short. */
  readonly baseDir?: string;
  /** Settings for `[global]` of ceph.conf; they win over the defaults. */
  readonly extraConf?: Readonly<Record<string, string>>;
  /** Gets progress lines. */
  readonly log?: (line: string) => void;
}

/** A CephX user and where its key lies; `name` is the id without `client.`. */
export interface ClusterUser<Name extends string = string> {
  readonly name: Name;
  readonly keyringPath: string;
}

export interface PoolOptions {
  /** Default 1. */
  readonly pgNum?: number;
  /** Default true: initialise it for RBD and give the agent and the receiver rights on it. */
  readonly rbd?: boolean;
  /** A k=2 m=1 erasure-coded pool, for `rbd create --data-pool`; needs 3 OSDs. Default false. */
  readonly erasure?: boolean;
}

export interface RbdOptions extends CommandOptions {
  /** CephX id without `client.`; default `admin`. */
  readonly user?: string;
}

export interface Cluster {
  readonly name: string;
  readonly dir: string;
  readonly fsid: string;
  readonly confPath: string;
  readonly keeperPid: number;
  readonly users: {
    readonly [Name in 'admin' | 'agent' | 'receiver']: ClusterUser<Name>;
  };
  /** Process ids of the running daemons: `mon.a`, `osd.0`, `mgr.x`. */
  daemonPids(): ReadonlyMap<string, number>;
  /** Runs `ceph` as client.admin. @throws ClusterError */
  ceph(args: readonly string[], options?: CommandOptions): Promise<{ stdout: string }>;
  /** Runs `rbd`. @throws ClusterError */
  rbd(args: readonly string[], options?: RbdOptions): Promise<{ stdout: string }>;
  /** The first arguments of any rbd or ceph command against this cluster. */
  connectArgs(user?: string): string[];
  createPool(name: string, options?: PoolOptions): Promise<void>;
  /** Makes a user with exactly these rights; `id` is without `client.`. */
  addUser(id: string, caps: Caps): Promise<ClusterUser>;
  /** From now on the cluster lives until its keeper gets SIGTERM, not until this process ends. */
  persist(): Promise<void>;
  /** Resolves when daemons and directory are gone; may be called again. */
  stop(): Promise<void>;
}

const ATTEMPTS = 4;
const LOG_TAIL_CHARS = 1_500;

/**
 * Starts a throw-away Ceph cluster. It ends, and its directory goes, with `stop()` or with this
 * process, however that dies.
 * @throws ClusterError with the tails of the daemons' logs, after several tries on other ports
 */
export async function startCluster(options: StartOptions): Promise<Cluster> {
  const log = options.log ?? (() => undefined);
  for (let attempt = 1; ; attempt += 1) {
    const keeper = await Keeper.start(options.baseDir ?? tmpdir());
    try {
      const cluster = await startIn(keeper, options);
      keeper.unref();
      return cluster;
    } catch (error) {
      const portTaken = await someLogSays(keeper.dir, 'Address already in use');
      const failure = bringUpError(error, await logTails(keeper.dir));
      await keeper.stop();
      if (!portTaken || attempt === ATTEMPTS) throw failure;
      log(`cluster "${options.name}": a port was taken, trying others`);
    }
  }
}

async function startIn(keeper: Keeper, options: StartOptions): Promise<Cluster> {
  const log = options.log ?? (() => undefined);
  const begin = performance.now();
  const settings = withDefaults(options, await chooseFreePort());
  const running = await bringUp(keeper, settings);
  const cluster = makeCluster({ name: options.name, keeper, running, settings });
  for (const pool of options.pools ?? []) await cluster.createPool(pool);
  const seconds = ((performance.now() - begin) / 1000).toFixed(1);
  log(`cluster "${options.name}" is up after ${seconds} s in ${keeper.dir}`);
  return cluster;
}

function withDefaults(options: StartOptions, port: number): BringUpOptions {
  return {
    port,
    objectStore: options.objectStore ?? 'memstore',
    manager: options.manager ?? false,
    osds: options.osds ?? 1,
    memstoreBytes: options.memstoreBytes ?? 4 * 2 ** 30,
    bluestoreBytes: options.bluestoreBytes ?? 40e9,
    fastPaxos: options.fastPaxos ?? true,
    extraConf: options.extraConf ?? {},
  };
}

interface ClusterParts {
  readonly name: string;
  readonly keeper: Keeper;
  readonly running: RunningCluster;
  readonly settings: BringUpOptions;
}

function makeCluster({ name, keeper, running, settings }: ClusterParts): Cluster {
  const { dir } = keeper;
  const { confPath, fsid } = running;
  const connectArgs = (user = 'admin') => [
    `--conf=${confPath}`,
    `--name=client.${user}`,
    `--keyring=${keyringPath(dir, `client.${user}`)}`,
  ];
  const run = async (program: string, args: readonly string[], options: RbdOptions = {}) => {
    try {
      return await runCommand(program, [...connectArgs(options.user), ...args], options);
    } catch (error) {
      throw withDeadDaemons(error, keeper);
    }
  };
  const pools = new PoolMaker(run, settings);
  let stopped: Promise<void> | undefined;
  return {
    name,
    dir,
    fsid,
    confPath,
    keeperPid: keeper.pid,
    users: {
      admin: { name: 'admin', keyringPath: keyringPath(dir, 'client.admin') },
      agent: { name: 'agent', keyringPath: keyringPath(dir, 'client.agent') },
      receiver: { name: 'receiver', keyringPath: keyringPath(dir, 'client.receiver') },
    },
    daemonPids: () => keeper.pids,
    ceph: (args, options) => run('ceph', args, { ...options, user: 'admin' }),
    rbd: (args, options) => run('rbd', args, options),
    connectArgs,
    createPool: (pool, options) => pools.create(pool, options),
    addUser: async (id, caps) => {
      const entity = `client.${id}`;
      const args = ['auth', 'get-or-create-key', entity, ...capsArgs(caps)];
      const key = (await run('ceph', args)).stdout.trim();
      return { name: id, keyringPath: await writeKeyring(dir, { entity, key }) };
    },
    persist: () => keeper.persist(),
    stop: () => (stopped ??= keeper.stop()),
  };
}

type Run = (program: string, args: readonly string[]) => Promise<{ stdout: string }>;

/** Makes pools, and keeps the rights of the agent and the receiver to exactly these pools. */
class PoolMaker {
  readonly #run: Run;
  readonly #manager: boolean;
  readonly #granted: string[] = [];
  #lastGrant: Promise<unknown> = Promise.resolve();

  constructor(run: Run, { manager }: { manager: boolean }) {
    this.#run = run;
    this.#manager = manager;
  }

  async create(name: string, options: PoolOptions = {}): Promise<void> {
    const { pgNum = 1, rbd = true, erasure = false } = options;
    if (erasure) await this.#createErasure(name, pgNum);
    else await this.#run('ceph', ['osd', 'pool', 'create', name, `${pgNum}`, `${pgNum}`]);
    if (!rbd) return;
    await Promise.all([this.#initialise(name, erasure), this.#grant(name)]);
  }

  async #createErasure(name: string, pgNum: number): Promise<void> {
    const profile = ['k=2', 'm=1', 'crush-failure-domain=osd'];
    await this.#run('ceph', ['osd', 'erasure-code-profile', 'set', 'rbdferry', ...profile]);
    const size = [`${pgNum}`, `${pgNum}`];
    await this.#run('ceph', ['osd', 'pool', 'create', name, ...size, 'erasure', 'rbdferry']);
    await this.#run('ceph', ['osd', 'pool', 'set', name, 'allow_ec_overwrites', 'true']);
  }

  async #initialise(name: string, erasure: boolean): Promise<void> {
    // An erasure-coded pool holds data only: it cannot store the omap that `rbd pool init` writes.
    if (erasure) await this.#run('ceph', ['osd', 'pool', 'application', 'enable', name, 'rbd']);
    else await this.#run('rbd', ['pool', 'init', name]);
  }

  /** One grant after the other: `auth caps` replaces, so a late one must not know fewer pools. */
  #grant(name: string): Promise<void> {
    const grant = this.#lastGrant.then(async () => {
      this.#granted.push(name);
      const caps = capsArgs(rbdCaps(this.#granted, { manager: this.#manager }));
      for (const user of ['agent', 'receiver']) {
        await this.#run('ceph', ['auth', 'caps', `client.${user}`, ...caps]);
      }
    });
    this.#lastGrant = grant.catch(() => undefined);
    return grant;
  }
}

function withDeadDaemons(error: unknown, { exits }: Keeper): unknown {
  if (!(error instanceof ClusterError) || exits.length === 0) return error;
  return new ClusterError(`${error.message}\n${exits.map(describeExit).join(', ')} before`, {
    cause: error,
  });
}

async function readLogs(dir: string): Promise<{ file: string; text: string }[]> {
  const files = (await readdir(dir)).filter((file) => /\.(log|out)$/.test(file));
  return Promise.all(files.map(async (file) => ({ file, text: await readFile(path.join(dir, file), 'utf8') })));
}

async function someLogSays(dir: string, words: string): Promise<boolean> {
  return (await readLogs(dir)).some(({ text }) => text.includes(words));
}

async function logTails(dir: string): Promise<string> {
  const tails = (await readLogs(dir)).filter(({ text }) => text !== '');
  return tails.map(({ file, text }) => `--- ${file}\n${text.slice(-LOG_TAIL_CHARS)}`).join('\n');
}
