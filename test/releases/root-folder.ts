import { existsSync } from 'node:fs';
import { chmod, copyFile, mkdir, readdir, rename, rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { MachineApt } from './apt.js';
import { runConfined, runInRoot } from './confined.js';
import type { Suite } from './options.js';
import { SetupError } from './setup-error.js';

export interface RootOptions {
  readonly suite: Suite;
  readonly cacheDir: string;
  /** Takes one that is whole as it is. */
  readonly keep: boolean;
  readonly apt: () => Promise<MachineApt>;
  readonly log: (line: string) => void;
  readonly signal: AbortSignal;
}

/** Ceph, and what our tests and scripts call besides it. */
const BASE_PACKAGES = ['ca-certificates', 'uuid-runtime', 'python3', 'procps'];
const CEPH_PACKAGES = ['ceph-mon', 'ceph-osd', 'ceph-mgr', 'ceph-common'];
const PROGRAMS = ['ceph-mon', 'ceph-osd', 'ceph-mgr', 'ceph', 'rbd', 'rados'];
/** One takes 0.9 GB when it is done, and more while its packages are unpacked. */
const NEEDED_BYTES = 2e9;

/**
 * A root folder with a Debian suite and its Ceph; made when there is none, else brought up to what the mirror has. Answers where it lies.
 * @throws SetupError without room on the disk, or without a mirror that answers
 */
export async function ensureRoot(options: RootOptions): Promise<string> {
  const { suite, cacheDir, keep, log, signal } = options;
  const root = join(cacheDir, suite);
  await mkdir(cacheDir, { recursive: true });
  await sweep(cacheDir);
  if (keep && PROGRAMS.every((program) => existsSync(join(root, 'usr/bin', program)))) return root;

  const apt = await options.apt();
  if (!existsSync(root)) {
    await checkRoom(cacheDir);
    log(`${suite}: making a root folder in "${root}", from ${apt.mirror}; some minutes`);
    await debootstrap(root, apt, options);
  }
  signal.throwIfAborted();
  log(`${suite}: bringing it up to date`);
  await prepare(root, apt);
  await installCeph(root, options);
  return root;
}

/** What belongs to one run has its process id in its name: what a dead one left goes. */
async function sweep(cacheDir: string): Promise<void> {
  for (const entry of await readdir(cacheDir)) {
    const owner = /\.(\d+)\.new$/.exec(entry)?.[1];
    if (owner !== undefined && !existsSync(`/proc/${owner}`)) await rm(join(cacheDir, entry), { recursive: true });
  }
}

async function checkRoom(cacheDir: string): Promise<void> {
  const { bavail, bsize } = await statfs(cacheDir);
  const free = bavail * bsize;
  if (free >= NEEDED_BYTES) return;
  const sizes = `${(free / 1e9).toFixed(1)} GB are free, and a root folder needs ${NEEDED_BYTES / 1e9} GB`;
  throw new SetupError(`no room in "${cacheDir}": ${sizes}`, 'choose another folder with --cache DIR');
}

async function debootstrap(root: string, apt: MachineApt, { suite, signal }: RootOptions): Promise<void> {
  const fresh = `${root}.${process.pid}.new`;
  const include = `--include=${BASE_PACKAGES.join(',')}`;
  try {
    const argv = ['debootstrap', '--variant=minbase', include, suite, fresh, apt.mirror];
    const result = await runConfined(argv, { signal, env: apt.env, output: 'pipe' });
    signal.throwIfAborted();
    if (result.failed) throw notMade(`debootstrap of "${suite}" from ${apt.mirror} failed`, result.printed);
    await rename(fresh, root);
  } finally {
    await rm(fresh, { recursive: true, force: true, maxRetries: 10 });
  }
}

/** What this machine knows of the network, and no daemon that an installation would start. */
async function prepare(root: string, apt: MachineApt): Promise<void> {
  for (const file of ['/etc/resolv.conf', '/etc/hosts']) if (existsSync(file)) await copyFile(file, join(root, file));
  await writeFile(join(root, 'etc/apt/apt.conf.d/90-of-the-machine'), apt.conf);
  await writeFile(join(root, 'etc/dpkg/dpkg.cfg.d/unsafe-io'), 'force-unsafe-io\n');
  const policy = join(root, 'usr/sbin/policy-rc.d');
  await writeFile(policy, '#!/bin/sh\nexit 101\n');
  await chmod(policy, 0o755);
}

async function installCeph(root: string, { suite, signal }: RootOptions): Promise<void> {
  const apt = 'apt-get -q -y -o Acquire::Retries=2';
  const script = [
    // What an earlier run that was broken off left half done.
    'dpkg --configure -a',
    `${apt} -o APT::Update::Error-Mode=any update`,
    `${apt} full-upgrade`,
    `${apt} install --no-install-recommends ${CEPH_PACKAGES.join(' ')}`,
    'apt-get clean',
  ].join('\n');
  const env = { DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' };
  const result = await runInRoot(root, ['bash', '-euc', script], { signal, env, output: 'pipe' });
  signal.throwIfAborted();
  if (result.failed) throw notMade(`the packages of "${suite}" cannot be installed`, result.printed);
}

function notMade(fact: string, output: string): SetupError {
  const tail = output.trim().slice(-1_500);
  return new SetupError(
    `${fact}:\n${tail}`,
    'does the mirror answer? Another one: --mirror URL; what is there, as it is: --keep',
  );
}
