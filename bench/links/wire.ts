import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { readlink } from 'node:fs/promises';
import { execa } from 'execa';
import { compile } from './native.js';

/** The clients' address in their own namespace: 127.0.0.1 is on the far side of the wire there. */
export const clientHost = '10.99.0.2';
const clusterHost = '10.99.0.1';

/** Two network namespaces with a wire between them. 127.0.0.1 of both is the clusters' side. */
export interface Wire {
  /** First words of a command that runs where the clusters are. */
  readonly atClusters: readonly string[];
  /** First words of a command that runs where the clients are. */
  readonly atClients: readonly string[];
  setRoundTrip(ms: number): Promise<void>;
  stop(): Promise<void>;
}

/** Needs root, gcc and iproute2. All of it ends with this process. */
export const startWire = async (dir: string): Promise<Wire> => {
  const program = await compile('delay-link', dir);
  const [clusters, clients] = await Promise.all([startNamespace(), startNamespace()]);
  const link = execa('setpriv', ['--pdeathsig', 'KILL', program, clusters.file, clients.file], {
    stdin: 'pipe',
    stderr: 'inherit',
    buffer: false,
    reject: false,
  });
  const answers = createInterface({ input: link.stdout });
  const ready = () => Promise.race([once(answers, 'line'), link.then(() => Promise.reject(new Error('no wire')))]);
  await ready();
  await configure(clusters.enter, clusterHost, '');
  const farLoopback = `ip addr del 127.0.0.1/8 dev lo; ip route add 127.0.0.1/32 dev wire src ${clientHost}`;
  await configure(clients.enter, clientHost, farLoopback);
  return {
    atClusters: clusters.enter,
    atClients: clients.enter,
    async setRoundTrip(ms) {
      const answer = ready();
      link.stdin.write(`${ms * 500}\n`);
      await answer;
    },
    async stop() {
      link.kill();
      await link;
      await Promise.all([clusters.stop(), clients.stop()]);
    },
  };
};

/** A namespace that a sleeping process holds. */
const startNamespace = async () => {
  const holder = execa('setpriv', ['--pdeathsig', 'KILL', 'unshare', '--net', 'sleep', '1d'], {
    stdin: 'ignore',
    reject: false,
  });
  const file = `/proc/${holder.pid ?? 0}/ns/net`;
  const own = await readlink('/proc/self/ns/net');
  const deadline = Date.now() + 5_000;
  while ((await readlink(file).catch(() => own)) === own) {
    if (Date.now() > deadline) throw new Error('no network namespace could be made; this needs root');
    await sleep(20);
  }
  return {
    file,
    enter: ['nsenter', `--net=${file}`],
    async stop() {
      holder.kill();
      await holder;
    },
  };
};

const configure = async (enter: readonly string[], address: string, more: string): Promise<void> => {
  const [program = 'nsenter', ...words] = enter;
  const script = [
    'ip link set lo up',
    'ip link set wire mtu 65000 txqueuelen 10000 up',
    `ip addr add ${address}/30 dev wire`,
    // Loopback addresses may travel.
    'echo 1 > /proc/sys/net/ipv4/conf/wire/route_localnet',
    more,
  ].join('\n');
  await execa(program, [...words, 'sh', '-ec', script], { stdin: 'ignore', timeout: 10_000 });
};
