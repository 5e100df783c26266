import { chmod, cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import type { Cluster } from '../ceph/cluster.js';

const root = ((here) => here.slice(0, here.lastIndexOf('/test/') + 1))(fileURLToPath(import.meta.url));

/** Stands in for systemd: does what our units ask for of user, directories and environment, and runs the daemon. */
const systemctl = `#!/bin/bash
set -euo pipefail
[ "$1" = daemon-reload ] && exit 0
[ "$1 $2" = 'enable --now' ] || { echo "systemctl $*: not known here" >&2; exit 1; }
unit=/etc/systemd/system/$3.service
of() { sed -n "s/^$1=//p" "$unit"; }
directory() { [ -z "$(of $1Directory)" ] || install -d -o "$(of User)" -g "$(of Group)" -m "$(of $1DirectoryMode)" "$2/$(of $1Directory)"; }
directory State /var/lib
directory Runtime /run
cd /
umask "$(of UMask)"
env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin setpriv --reuid "$(of User)" --regid "$(of Group)" --init-groups --no-new-privs \\
  $(of ExecStart) >"/var/log/$3.log" 2>&1 </dev/null &
for _ in {1..300}; do
  if grep -q '"msg":"ready"' "/var/log/$3.log"; then exit 0; fi
  kill -0 $! 2>/dev/null || break
  sleep 0.1
done
cat "/var/log/$3.log" >&2
exit 1
`;

/**
 * This machine as it was before anybody installed rbdferry on it: mounts and processes of its own, so that what an administrator does
 * there, users and files in /etc included, goes with it. Needs root.
 */
export class Machine {
  readonly #dir: string;
  readonly #pid: number;
  readonly #end: () => Promise<void>;

  private constructor(dir: string, pid: number, end: () => Promise<void>) {
    this.#dir = dir;
    this.#pid = pid;
    this.#end = end;
  }

  /** @param cluster what `ceph` and `rbd` on it mean; root has the administrator's keyring */
  static async start(cluster: Cluster, hosts = ''): Promise<Machine> {
    const dir = await mkdtemp(join(tmpdir(), 'rbdferry-machine-'));
    await chmod(dir, 0o755);
    await cp('/etc', join(dir, 'etc'), { recursive: true, verbatimSymlinks: true });
    for (const path of ['run', 'var/lib', 'var/log', 'opt/rbdferry', 'home/alice', 'etc/ceph', 'usr/local/bin']) {
      await mkdir(join(dir, path), { recursive: true });
    }
    const monitors = /^\s*mon[_ ]host\s*=.*$/m.exec(await readFile(cluster.confPath, 'utf8'))?.[0] ?? '';
    await writeFile(join(dir, 'etc/ceph/ceph.conf'), `[global]\nfsid = ${cluster.fsid}\n${monitors}\n`);
    await cp(cluster.users.admin.keyringPath, join(dir, 'etc/ceph/ceph.client.admin.keyring'));
    await chmod(join(dir, 'etc/ceph/ceph.client.admin.keyring'), 0o600);
    await writeFile(join(dir, 'etc/hosts'), `127.0.0.1 localhost\n${hosts}`);
    if (process.execPath.startsWith('/usr/local/bin/')) await cp(process.execPath, join(dir, 'usr/local/bin/node'));
    await writeFile(join(dir, 'usr/local/bin/systemctl'), systemctl, { mode: 0o755 });
    const mounts = ['etc', 'run', 'var/lib', 'var/log', 'opt', 'usr/local/bin', 'home']
      .map((path) => `mount --bind ${dir}/${path} /${path}`)
      .concat(`mount --bind ${root} /opt/rbdferry`, 'useradd --no-create-home alice', 'chown alice /home/alice');
    const script = `${mounts.join('\n')}\necho up\nexec sleep infinity`;
    const own = ['--mount', '--pid', '--fork', '--kill-child', '--mount-proc', '--propagation', 'private'];
    const holder = execa('setpriv', ['--pdeathsig', 'KILL', 'unshare', ...own, 'bash', '-euc', script]);
    const ended = holder.catch(() => {});
    await new Promise<void>((resolve, reject) => {
      holder.stdout.once('data', () => {
        resolve();
      });
      holder.catch(reject);
    });
    const children = await readFile(`/proc/${holder.pid}/task/${holder.pid}/children`, 'utf8');
    return new Machine(dir, Number(children.trim()), async () => {
      holder.kill('SIGKILL');
      await ended;
      await rm(dir, { recursive: true, force: true });
    });
  }

  /** Runs a script with bash, which stops at its first failure; in /home/alice. Answers its stdout. */
  async run(script: string, user: 'root' | 'alice'): Promise<string> {
    const as = ['setpriv', '--reuid', user, '--regid', user, '--init-groups', '--reset-env'];
    const whole = `cd /home/alice; export PATH=/usr/local/bin:/usr/sbin:$PATH\n${script}`;
    const inside = ['-t', String(this.#pid), '-m', '-p', ...as];
    const { stdout } = await execa('nsenter', [...inside, 'bash', '-euo', 'pipefail', '-c', whole]);
    return stdout;
  }

  /** Where a file of this machine lies outside of it. */
  path(file: string): string {
    return join(this.#dir, file);
  }

  async stop(): Promise<void> {
    await this.#end();
  }
}
