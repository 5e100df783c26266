import { blast, startRelay, startSink, type Listener } from '../links/relay.js';
import { takeTurns, type Contender, type Sample } from '../measure/turns.js';
import { compare, cpuPerGiB, rate, type Goal } from '../report/row.js';
import { MiB } from '../rig/content.js';
import { makePki } from '../rig/ferry.js';
import { runPipeline } from '../rig/shell.js';
import { fastCipher, startSshServer, warmUp, type SshOptions, type SshServer } from '../rig/ssh-server.js';
import { send, startReceiver } from '../transport/pair.js';
import type { Case, CaseContext } from './case.js';

const ours = 'core/rpc';
const wide = 'core/rpc, window 64 MiB';
const fastSsh = 'ssh aes128-gcm';
const plainSsh = 'ssh default cipher';
const barePipe = 'bare pipe';
const plainTcp = 'plain TCP';

const wideWindowBytes = 64 * MiB;

const goals = {
  loopback: { text: 'transport, loopback: at least 1.5 x ssh aes128-gcm', bound: 'at least', value: 1.5 },
  far: { text: 'transport at 50 ms: at least 10 x ssh', bound: 'at least', value: 10 },
  relay: { text: 'transport at 50 ms: at least 80 % of what the relay lets through', bound: 'at least', value: 0.8 },
} as const satisfies Record<string, Goal>;

/** What both ends of the transport case need. */
interface Ends {
  readonly pki: string;
  readonly ssh: SshServer;
  readonly receiver: Listener;
  readonly wideReceiver: Listener;
  readonly sink: Listener;
}

/** The transport alone: a producer at memory speed, a sink that discards. */
export const transportCase: Case = async (context) => {
  const ssh = await startSshServer(context.dir);
  const listeners: Listener[] = [];
  const keep = async (starting: Promise<Listener>): Promise<Listener> => {
    const listener = await starting;
    listeners.push(listener);
    return listener;
  };
  try {
    await warmUp(ssh);
    const pki = await makePki(context.dir);
    const ends: Ends = {
      pki,
      ssh,
      receiver: await keep(startReceiver(pki)),
      wideReceiver: await keep(startReceiver(pki, { windowBytes: wideWindowBytes })),
      sink: await keep(startSink(context.dir)),
    };
    await loopback(ends, context);
    for (const roundTripMs of context.quick ? [50] : [5, 20, 50]) await far(ends, roundTripMs, context);
  } finally {
    await Promise.all(listeners.map((listener) => listener.stop()));
    await ssh.stop();
  }
};

const zeros = (bytes: number): string => `head -c ${bytes} /dev/zero`;

const throughSsh = async (ssh: SshServer, bytes: number, options: SshOptions): Promise<Sample> => {
  const far = await ssh.metered('cat > /dev/null', options);
  const { seconds } = await runPipeline(`${zeros(bytes)} | ${far}`);
  return { seconds, bytes, cpu: await ssh.cpu() };
};

const loopback = async ({ pki, ssh, receiver }: Ends, context: CaseContext): Promise<void> => {
  const bytes = (context.quick ? 512 : 2048) * MiB;
  const contenders: Contender[] = [
    { name: ours, run: () => send(pki, { port: receiver.port, receiver, bytes }) },
    { name: fastSsh, run: () => throughSsh(ssh, bytes, { cipher: fastCipher }) },
    { name: plainSsh, run: () => throughSsh(ssh, bytes, {}) },
    { name: barePipe, run: async () => ({ ...(await runPipeline(`${zeros(bytes)} | cat > /dev/null`)), bytes }) },
  ];
  const turns = await takeTurns(contenders, context);
  const name = 'transport, loopback';
  const speed = { case: name, what: 'rate', ours, unit: 'MB/s', figure: rate } as const;
  context.report.keep(name, turns);
  context.report.add(
    compare(turns, { ...speed, peer: fastSsh, goal: goals.loopback }),
    compare(turns, { ...speed, peer: plainSsh }),
    compare(turns, { ...speed, peer: barePipe }),
    compare(turns, { case: name, what: 'CPU of both ends', ours, peer: fastSsh, unit: 'CPU s/GiB', figure: cpuPerGiB }),
  );
};

/** The same through a relay that delays; ssh gets less to carry, since it is slow there. */
const far = async (ends: Ends, roundTripMs: number, context: CaseContext): Promise<void> => {
  const { pki, ssh, receiver, wideReceiver, sink } = ends;
  const bytes = (context.quick ? 512 : 1024) * MiB;
  const sshBytes = (roundTripMs < 20 ? 512 : 256) * MiB;
  const relays = await Promise.all(
    [receiver, wideReceiver, sink, ssh].map(({ port }) => startRelay(context.dir, port, roundTripMs)),
  );
  const [toReceiver, toWide, toSink, toSsh] = relays.map(({ port }) => port);
  if (toReceiver === undefined || toWide === undefined || toSink === undefined) throw new Error('a relay is missing');
  const contenders: Contender[] = [
    { name: ours, run: () => send(pki, { port: toReceiver, receiver, bytes }) },
    { name: wide, run: () => send(pki, { port: toWide, receiver: wideReceiver, bytes }) },
    { name: fastSsh, run: () => throughSsh(ssh, sshBytes, { cipher: fastCipher, port: toSsh }) },
    { name: plainTcp, run: () => blast(context.dir, toSink, bytes) },
  ];
  try {
    const turns = await takeTurns(contenders, context);
    const name = `transport, ${roundTripMs} ms`;
    const speed = { case: name, unit: 'MB/s', figure: rate } as const;
    const goal = (of: Goal) => (roundTripMs === 50 ? of : undefined);
    context.report.keep(name, turns);
    context.report.add(
      compare(turns, { ...speed, what: 'rate', ours, peer: fastSsh, goal: goal(goals.far) }),
      compare(turns, { ...speed, what: 'rate', ours, peer: plainTcp, goal: goal(goals.relay) }),
      compare(turns, { ...speed, what: 'rate, window 64 MiB', ours: wide, peer: fastSsh }),
      compare(turns, { ...speed, what: 'rate, window 64 MiB', ours: wide, peer: plainTcp }),
    );
  } finally {
    await Promise.all(relays.map((relay) => relay.stop()));
  }
};
