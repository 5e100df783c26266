import { accessSync, constants } from 'node:fs';
import path from 'node:path';
import { execa } from 'execa';
import { ClusterError } from './cluster-error.js';

const PROGRAMS = ['ceph-mon', 'ceph-osd', 'ceph-mgr', 'ceph', 'rbd'];
const PACKAGES = ['ceph-mon', 'ceph-osd', 'ceph-common', 'ceph-mgr'];
const APT_TIMEOUT_MS = 600_000;

/**
 * Makes sure that Ceph's programs are on this machine; installs Debian's packages when this
 * process is root and has apt-get. Starts and changes nothing else.
 * @throws ClusterError that says what to install, when it cannot
 */
export async function ensureCeph({ log = console.error }: { log?: (line: string) => void } = {}): Promise<void> {
  const missing = PROGRAMS.filter((program) => !isOnPath(program));
  if (missing.length === 0) return;
  if (process.getuid?.() !== 0) throw cannotInstall(missing, 'this user is not root');
  if (!isOnPath('apt-get')) throw cannotInstall(missing, 'there is no apt-get');

  log(`installing Ceph, because ${missing.join(', ')} is missing`);
  await installTwice(missing, log);
  const stillMissing = PROGRAMS.filter((program) => !isOnPath(program));
  if (stillMissing.length > 0) throw cannotInstall(stillMissing, 'apt-get did not bring it');
  log('installed Ceph');
}

/** Mirrors fail now and then; a second try, after a fresh list, usually works. */
async function installTwice(missing: readonly string[], log: (line: string) => void) {
  try {
    await install(log);
  } catch (error) {
    log(`trying once more, because ${reasonOf(error)}`);
    await install(log).catch((last: unknown) => {
      throw cannotInstall(missing, reasonOf(last));
    });
  }
}

async function install(log: (line: string) => void): Promise<void> {
  await aptGet(['update'], log);
  await aptGet(['install', '-y', '--no-install-recommends', ...PACKAGES], log);
}

async function aptGet(args: readonly string[], log: (line: string) => void): Promise<void> {
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

function cannotInstall(missing: readonly string[], reason: string): ClusterError {
  return new ClusterError(
    `${missing.join(', ')} not found, and cannot be installed from here: ${reason}\n` +
      `hint: as root, run: apt-get update && apt-get install --no-install-recommends ${PACKAGES.join(' ')}`,
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
