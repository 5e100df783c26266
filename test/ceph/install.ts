import { accessSync, constants } from 'node:fs';
import path from 'node:path';
import { execa } from 'execa';
import { ClusterError } from './cluster-error.js';

type Log = (line: string) => void;

/** Programs that come with Debian packages. */
interface Wanted {
  /** As a person calls them. */
  readonly name: string;
  readonly programs: readonly string[];
  readonly packages: readonly string[];
}

const CEPH: Wanted = {
  name: 'Ceph',
  programs: ['ceph-mon', 'ceph-osd', 'ceph-mgr', 'ceph', 'rbd'],
  packages: ['ceph-mon', 'ceph-osd', 'ceph-common', 'ceph-mgr'],
};
const APT_TIMEOUT_MS = 600_000;

/**
 * Makes sure that Ceph's programs are on this machine; installs Debian's packages when this
 * process is root and has apt-get. Starts and changes nothing else.
 * @throws ClusterError that says what to install, when it cannot
 */
export async function ensureCeph({ log = console.error }: { log?: Log } = {}): Promise<void> {
  await ensureInstalled(CEPH, log);
}

/** The same for other programs. @throws ClusterError that says what to install, when it cannot */
export async function ensureInstalled(wanted: Wanted, log: Log): Promise<void> {
  const missing = wanted.programs.filter((program) => !isOnPath(program));
  if (missing.length === 0) return;
  if (process.getuid?.() !== 0) throw cannotInstall(wanted, missing, 'this user is not root');
  if (!isOnPath('apt-get')) throw cannotInstall(wanted, missing, 'there is no apt-get');

  log(`installing ${wanted.name}, because ${missing.join(', ')} is missing`);
  await installTwice(wanted, missing, log);
  const stillMissing = wanted.programs.filter((program) => !isOnPath(program));
  if (stillMissing.length > 0) throw cannotInstall(wanted, stillMissing, 'apt-get did not bring it');
  log(`installed ${wanted.name}`);
}

/** Mirrors fail now and then; a second try, after a fresh list, usually works. */
async function installTwice(wanted: Wanted, missing: readonly string[], log: Log) {
  try {
    await install(wanted, log);
  } catch (error) {
    log(`trying once more, because ${reasonOf(error)}`);
    await install(wanted, log).catch((last: unknown) => {
      throw cannotInstall(wanted, missing, reasonOf(last));
    });
  }
}

async function install({ packages }: Wanted, log: Log): Promise<void> {
  await aptGet(['update'], log);
  await aptGet(['install', '-y', '--no-install-recommends', ...packages], log);
}

async function aptGet(args: readonly string[], log: Log): Promise<void> {
  log(`apt-get ${args.join(' ')}`);
  // Waits for another apt-get instead of failing, and restarts no services.
  await execa('apt-get', ['-q', '-o', 'DPkg::Lock::Timeout=120', ...args], {
    env: { DEBIAN_FRONTEND: 'noninteractive', NEEDRESTART_SUSPEND: '1', LC_ALL: 'C' },
    stdin: 'ignore',
    timeout: APT_TIMEOUT_MS,
  });
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message.slice(-2_000) : String(error);
}

function cannotInstall({ packages }: Wanted, missing: readonly string[], reason: string): ClusterError {
  return new ClusterError(
    `${missing.join(', ')} not found, and cannot be installed from here: ${reason}\n` +
      `hint: as root, run: apt-get update && apt-get install --no-install-recommends ${packages.join(' ')}`,
  );
}

function isOnPath(program: string): boolean {
  const folders = (process.env['PATH'] ?? '').split(path.delimiter);
  return folders.some((folder) => {
    try {
      accessSync(path.join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
