import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { cpuSecondsIn } from '../measure/processes.js';
import { quote, runPipeline } from './shell.js';

const sshd = '/usr/sbin/sshd';
const policyFile = '/usr/sbin/policy-rc.d';

/** The cipher that is fastest where the processor has AES; the other is what `ssh` takes by itself. */
export const fastCipher = 'aes128-gcm@openssh.com';

/** An sshd of the benchmark's own, on 127.0.0.1, with its own keys. */
export interface SshServer {
  readonly port: number;
  /** Words of an `ssh` command line that runs `script` (a shell command) on the far side. */
  words(script: string, options?: SshOptions): string[];
  /**
   * A shell command that pipes its input through ssh into `script`, which leaves the CPU seconds of both ssh processes, and
   * those only, where {@link cpu} reads them.
   */
  metered(script: string, options?: SshOptions): Promise<string>;
  /** CPU seconds of the last {@link metered} command. */
  cpu(): Promise<{ ssh: number; sshd: number }>;
  stop(): Promise<void>;
}

export interface SshOptions {
  readonly cipher?: string | undefined;
  /** Another port, such as a relay's. */
  readonly port?: number | undefined;
}

/** Installs Debian's OpenSSH server where it is missing, without letting it start. */
const ensureSshd = async (log: (line: string) => void): Promise<void> => {
  if (existsSync(sshd)) return;
  log('installing openssh-server, because sshd is missing');
  const ownPolicy = !existsSync(policyFile);
  if (ownPolicy) await writeFile(policyFile, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  const options = { env: { DEBIAN_FRONTEND: 'noninteractive' }, stdin: 'ignore', timeout: 600_000 } as const;
  try {
    await execa('apt-get', ['-q', 'update'], options);
    await execa('apt-get', ['-q', 'install', '-y', '--no-install-recommends', 'openssh-server'], options);
  } finally {
    if (ownPolicy) await execa('rm', ['-f', policyFile]);
  }
};

const freePort = (host: string): Promise<number> =>
  new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, host, () => {
      const { port } = probe.address() as AddressInfo;
      probe.close(() => {
        resolve(port);
      });
    });
  });

const listens = (host: string, port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, host);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => {
      resolve(false);
    });
  });

const keygen = async (file: string): Promise<void> => {
  await execa('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', file]);
};

const serverConfig = (dir: string, host: string, port: number): string =>
  [
    `Port ${port}`,
    `ListenAddress ${host}`,
    `HostKey ${dir}/host_key`,
    `AuthorizedKeysFile ${dir}/user_key.pub`,
    `PidFile ${dir}/sshd.pid`,
    'PermitRootLogin prohibit-password',
    'PasswordAuthentication no',
    'StrictModes no',
    'UsePAM no',
    'LogLevel ERROR',
    '',
  ].join('\n');

const clientConfig = (dir: string): string =>
  [
    'Host *',
    `  IdentityFile ${dir}/user_key`,
    '  IdentitiesOnly yes',
    `  UserKnownHostsFile ${dir}/known_hosts`,
    '  StrictHostKeyChecking yes',
    '  HostKeyAlias bench',
    '  BatchMode yes',
    '  Compression no',
    '  LogLevel ERROR',
    '',
  ].join('\n');

/** Starts it below `parent`. It ends with this process. @throws when sshd does not listen within ten seconds */
export const startSshServer = async (
  parent: string,
  { host = '127.0.0.1', log = console.error }: { host?: string | undefined; log?: (line: string) => void } = {},
): Promise<SshServer> => {
  await ensureSshd(log);
  const dir = join(parent, 'ssh');
  await mkdir(dir);
  await mkdir('/run/sshd', { recursive: true });
  const port = await freePort(host);
  await Promise.all([keygen(join(dir, 'host_key')), keygen(join(dir, 'user_key'))]);
  const hostKey = await readFile(join(dir, 'host_key.pub'), 'utf8');
  await writeFile(join(dir, 'known_hosts'), `bench ${hostKey}`);
  await writeFile(join(dir, 'sshd_config'), serverConfig(dir, host, port));
  await writeFile(join(dir, 'ssh_config'), clientConfig(dir));
  const server = execa('setpriv', ['--pdeathsig', 'TERM', sshd, '-D', '-e', '-f', join(dir, 'sshd_config')], {
    stdin: 'ignore',
    reject: false,
  });
  const deadline = Date.now() + 10_000;
  while (!(await listens(host, port))) {
    if (Date.now() > deadline || server.exitCode !== null) {
      server.kill();
      throw new Error(`sshd does not listen: ${(await server).stderr}`);
    }
    await sleep(50);
  }
  return {
    ...sshCommands(dir, host, port),
    async stop() {
      server.kill('SIGTERM');
      await server;
    },
  };
};

const sshCommands = (dir: string, host: string, ownPort: number): Omit<SshServer, 'stop'> => {
  const words = (script: string, { cipher, port = ownPort }: SshOptions = {}): string[] => [
    'ssh',
    '-F',
    `${dir}/ssh_config`,
    '-p',
    `${port}`,
    ...(cipher === undefined ? [] : ['-c', cipher]),
    `root@${host}`,
    script,
  ];
  const near = `${dir}/cpu-ssh`;
  const far = `${dir}/cpu-sshd`;
  return {
    port: ownPort,
    words,
    async metered(script, options) {
      const remote = join(dir, 'remote.sh');
      // The parent of the far side's shell is the sshd process of this connection.
      await writeFile(remote, `${script}\nstatus=$?\ncat /proc/$PPID/stat > ${quote(far)}\nexit $status\n`);
      await chmod(remote, 0o755);
      const client = words(`. ${remote}`, options).map(quote).join(' ');
      return `{ TIMEFORMAT='%U %S'; time ${client}; } 2> ${quote(near)}`;
    },
    async cpu() {
      const [user = 0, system = 0] = ((await readFile(near, 'utf8')).trim().split('\n').at(-1) ?? '')
        .split(' ')
        .map(Number);
      return { ssh: user + system, sshd: cpuSecondsIn(await readFile(far, 'utf8')) };
    },
  };
};

/** Opens a connection once, so that the first one measured is not the first one. */
export const warmUp = async (server: SshServer): Promise<void> => {
  await runPipeline(server.words('true').map(quote).join(' '), 20_000);
};
