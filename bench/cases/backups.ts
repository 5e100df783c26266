import { BackupMode } from '@rbdferry/core/gen/rbdferry/v1/control.js';
import { untilChildless, watchProcesses } from '../measure/processes.js';
import { takeTurns, type Contender, type Sample, type TurnOptions, type Turns } from '../measure/turns.js';
import { compare } from '../report/row.js';
import {
  oldWay,
  pipe,
  subject,
  transferRows,
  transportAlone,
  transportRows,
  tuned,
  viaSsh,
  type TransferGoals,
} from '../report/transfer-rows.js';
import type { JobRun } from '../rig/control.js';
import type { Ferry } from '../rig/ferry.js';
import { fill } from '../rig/fill.js';
import type { Pattern } from '../rig/patterns.js';
import {
  barePipe,
  intoNewImage,
  rawSshPipe,
  sshPipe,
  streamBytes,
  tunedPipe,
  withTransportPipe,
  type Haul,
} from '../rig/pipes.js';
import { backupPool, createImage, rbd, removeImage, sourcePool, type Site, type SiteUser } from '../rig/site.js';
import { fastCipher } from '../rig/ssh-server.js';
import type { Stage } from '../rig/stage.js';
import type { CaseContext } from './case.js';

export interface BackupContext extends CaseContext {
  /** For the lines' names: `, 5 ms to the OSDs`. */
  readonly where?: string;
  readonly goals?: { readonly full?: TransferGoals; readonly increment?: TransferGoals };
}

/** What a job of rbdferry used, from the request to its end; then waits until the daemons rest. */
export const measureJob = async (ferry: Ferry, run: () => Promise<JobRun>): Promise<Sample & { backupId: string }> => {
  const use = await watchProcesses({ agent: ferry.agent.pid, receiver: ferry.receiver.pid });
  const job = await run();
  const used = await use();
  await untilChildless([ferry.agent.pid, ferry.receiver.pid]);
  return { seconds: job.seconds, parts: job.phases, bytes: job.streamBytes, backupId: job.backupId, ...used };
};

export const image = `${sourcePool}/vm`;

/** The pattern's image, with a snapshot `peer-0` of it. */
export const makeSource = async ({ source }: Stage, pattern: Pattern): Promise<void> => {
  await rbd(source, 'agent', ['create', `--size=${pattern.imageBytes}B`, image]);
  await fill(source, image, { extents: pattern.base, filling: pattern.filling, seed: pattern.name });
  await rbd(source, 'agent', ['snap', 'create', '--no-progress', `${image}@peer-0`]);
};

const haulOf = ({ source, backup }: Stage, target: string, more: Pick<Haul, 'snap' | 'fromSnap' | 'bytes'>): Haul => ({
  from: source,
  to: backup,
  exporter: 'agent',
  importer: 'receiver',
  image,
  target: `${backupPool}/${target}`,
  ...more,
});

/** Lets the transport alone take its turns with the others. */
export const takeTurnsWithTransport = (
  contenders: readonly Contender[],
  { pki, haul, imageBytes }: { readonly pki: string; readonly haul: Haul; readonly imageBytes: number },
  options: TurnOptions,
): Promise<Turns> =>
  withTransportPipe(pki, haul, (carry) => {
    const transport = { name: transportAlone, run: () => intoNewImage(haul, imageBytes, carry) };
    return takeTurns([...contenders, transport], options);
  });

/** Full backups, each of which leaves nothing behind. */
export const fulls = async (stage: Stage, pattern: Pattern, context: BackupContext): Promise<void> => {
  const { imageBytes } = pattern;
  const bytes = await streamBytes(haulOf(stage, '', { snap: 'peer-0', bytes: 0 }));
  const haul = (target: string) => haulOf(stage, target, { snap: 'peer-0', bytes });
  const contenders: Contender[] = [
    { name: subject, run: async () => ({ ...(await ferryFull(stage)), bytes }) },
    { name: pipe, run: () => intoNewImage(haul('pipe'), imageBytes, barePipe) },
    {
      name: viaSsh,
      run: () => intoNewImage(haul('ssh'), imageBytes, (each) => sshPipe(each, stage.ssh, { cipher: fastCipher })),
    },
    { name: oldWay, run: () => oldFull(stage, haul('old')) },
  ];
  const name = `full, ${pattern.name}${context.where ?? ''}`;
  const isNear = context.where === undefined;
  const transport = { pki: stage.ferry.pki, haul: haul('direct'), imageBytes };
  const turns = isNear
    ? await takeTurnsWithTransport(contenders, transport, context)
    : await takeTurns(contenders, context);
  context.report.keep(name, turns);
  context.report.add(...transferRows(name, turns, context.goals?.full ?? {}));
  if (isNear) context.report.add(...transportRows(name, turns));
  context.report.add(compare(turns, { case: name, what: 'whole command', ours: subject, peer: oldWay }));
};

/** A full backup that leaves nothing behind on either side. */
const ferryFull = async ({ ferry }: Stage): Promise<Sample> => {
  const sample = await measureJob(ferry, () => ferry.control.backup(image, BackupMode.FULL));
  await ferry.control.deleteChain(sample.backupId);
  await untilChildless([ferry.agent.pid, ferry.receiver.pid]);
  return sample;
};

const oldFull = async ({ ssh, backup }: Stage, haul: Haul): Promise<Sample> => {
  try {
    return await rawSshPipe(haul, ssh, { cipher: fastCipher });
  } finally {
    await removeImage(backup, 'receiver', haul.target);
  }
};

const peerTargets = ['pipe', 'tuned', 'ssh'] as const;

/**
 * Removes what no increment after `peer-ROUND` needs. A snapshot keeps whole objects of what changed since, in memory here: a few
 * rounds of small extents all over four images fill the cluster, and then `rbd` waits for ever.
 */
const dropOlder = async ({ ferry, source, backup }: Stage, round: number): Promise<void> => {
  const remove = (site: Site, user: SiteUser, of: string) =>
    rbd(site, user, ['snap', 'rm', '--no-progress', `${of}@peer-${round - 1}`]);
  await remove(source, 'agent', image);
  for (const target of peerTargets) await remove(backup, 'receiver', `${backupPool}/${target}`);
  await ferry.control.deleteAllButNewest(image);
  await untilChildless([ferry.agent.pid, ferry.receiver.pid]);
};

/** Increments: before each round something changes, which all contenders carry over. */
export const increments = async (stage: Stage, pattern: Pattern, context: BackupContext): Promise<void> => {
  const { ferry, source, backup } = stage;
  await measureJob(ferry, () => ferry.control.backup(image, BackupMode.FULL));
  for (const target of peerTargets) {
    const first = haulOf(stage, target, { snap: 'peer-0', bytes: 0 });
    await createImage(backup, 'receiver', first.target, pattern.imageBytes);
    await barePipe(first);
  }
  let bytes = 0;
  const haul = (target: (typeof peerTargets)[number] | '', round: number) =>
    haulOf(stage, target, {
      snap: `peer-${round + 1}`,
      fromSnap: `peer-${round}`,
      bytes,
    });
  const contenders: Contender[] = [
    {
      name: subject,
      // CPU is counted for the bytes that all have to carry over, not for those that are left without zeros.
      run: async () => ({
        ...(await measureJob(ferry, () => ferry.control.backup(image, BackupMode.INCREMENTAL))),
        bytes,
      }),
    },
    { name: pipe, run: (round) => barePipe(haul('pipe', round)) },
    { name: tuned, run: (round) => tunedPipe(haul('tuned', round)) },
    { name: viaSsh, run: (round) => sshPipe(haul('ssh', round), stage.ssh, { cipher: fastCipher }) },
  ];
  const prepare = async (round: number): Promise<void> => {
    if (round > 0) await dropOlder(stage, round);
    const extents = pattern.change(round);
    await fill(source, image, { extents, filling: pattern.filling, seed: `${pattern.name} ${round}` });
    await rbd(source, 'agent', ['snap', 'create', '--no-progress', `${image}@peer-${round + 1}`]);
    bytes = await streamBytes(haul('', round));
  };
  const turns = await takeTurns(contenders, { ...context, prepare });
  const name = `increment, ${pattern.name}${context.where ?? ''}`;
  context.report.keep(name, turns);
  context.report.add(...transferRows(name, turns, context.goals?.increment ?? {}));
  context.report.add(compare(turns, { case: name, what: tuned, ours: tuned, peer: pipe }));
};
