import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { BackupMode } from '@rbdferry/core/gen/rbdferry/v1/control.js';
import { untilChildless, watchProcesses } from '../measure/processes.js';
import { takeTurns, type Contender, type Sample, type Turns } from '../measure/turns.js';
import { compare, cpuPerGiB, partsOf, type Goal, type Row } from '../report/row.js';
import { MiB } from '../rig/content.js';
import type { JobRun } from '../rig/control.js';
import type { Ferry } from '../rig/ferry.js';
import { fill } from '../rig/fill.js';
import { patternOf, type Pattern } from '../rig/patterns.js';
import { barePipe, intoNewImage, rawSshPipe, sshPipe, streamBytes, type Haul } from '../rig/pipes.js';
import { backupPool, createImage, rbd, removeImage, sourcePool } from '../rig/site.js';
import { fastCipher } from '../rig/ssh-server.js';
import { withStage, type Stage } from '../rig/stage.js';
import type { Case, CaseContext } from './case.js';

export const subject = 'rbdferry';
export const pipe = 'export-diff | import-diff';
export const viaSsh = 'the same through ssh';
export const oldWay = 'export | ssh import';

/** What a job of rbdferry used, from the request to its end; then waits until the daemons rest. */
export const measureJob = async (ferry: Ferry, run: () => Promise<JobRun>): Promise<Sample & { backupId: string }> => {
  const use = await watchProcesses({ agent: ferry.agent.pid, receiver: ferry.receiver.pid });
  const job = await run();
  const used = await use();
  await untilChildless([ferry.agent.pid, ferry.receiver.pid]);
  return { seconds: job.seconds, parts: job.phases, bytes: job.streamBytes, backupId: job.backupId, ...used };
};

/** Full and incremental backups between two real clusters on loopback. */
export const transferCase: Case = async (context) => {
  for (const name of context.patterns) {
    context.log(`-- ${name}`);
    await onFreshStage(patternOf(name, (context.quick ? 256 : 1024) * MiB), fulls, context);
    // A changed object is copied as a whole for each snapshot, in memory here: smaller images.
    await onFreshStage(patternOf(name, (context.quick ? 256 : 512) * MiB), increments, context);
  }
};

export const image = `${sourcePool}/vm`;

type Part = (stage: Stage, pattern: Pattern, context: CaseContext) => Promise<void>;

const onFreshStage = async (pattern: Pattern, part: Part, context: CaseContext): Promise<void> => {
  const dir = await mkdtemp(join(context.dir, 'stage-'));
  await withStage({ ...context, dir }, async (stage) => {
    await makeSource(stage, pattern);
    await part(stage, pattern, context);
  });
};

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

const fulls = async (stage: Stage, pattern: Pattern, context: CaseContext): Promise<void> => {
  const { imageBytes } = pattern;
  const bytes = await streamBytes(haulOf(stage, '', { snap: 'peer-0', bytes: 0 }));
  const haul = (target: string) => haulOf(stage, target, { snap: 'peer-0', bytes });
  const contenders: Contender[] = [
    { name: subject, run: () => ferryFull(stage) },
    { name: pipe, run: () => intoNewImage(haul('pipe'), imageBytes, barePipe) },
    {
      name: viaSsh,
      run: () => intoNewImage(haul('ssh'), imageBytes, (each) => sshPipe(each, stage.ssh, { cipher: fastCipher })),
    },
    { name: oldWay, run: () => oldFull(stage, haul('old')) },
  ];
  const turns = await takeTurns(contenders, context);
  const name = `full, ${pattern.name}`;
  context.report.keep(name, turns);
  context.report.add(...rowsOf(name, turns, pattern.name === 'incompressible'));
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

const increments = async (stage: Stage, pattern: Pattern, context: CaseContext): Promise<void> => {
  const { ferry, source, backup } = stage;
  await measureJob(ferry, () => ferry.control.backup(image, BackupMode.FULL));
  for (const target of ['pipe', 'ssh']) {
    const first = haulOf(stage, target, { snap: 'peer-0', bytes: 0 });
    await createImage(backup, 'receiver', first.target, pattern.imageBytes);
    await barePipe(first);
  }
  let bytes = 0;
  const haul = (target: string, round: number) =>
    haulOf(stage, target, {
      snap: `peer-${round + 1}`,
      fromSnap: `peer-${round}`,
      bytes,
    });
  const contenders: Contender[] = [
    { name: subject, run: () => measureJob(ferry, () => ferry.control.backup(image, BackupMode.INCREMENTAL)) },
    { name: pipe, run: (round) => barePipe(haul('pipe', round)) },
    { name: viaSsh, run: (round) => sshPipe(haul('ssh', round), stage.ssh, { cipher: fastCipher }) },
  ];
  const prepare = async (round: number): Promise<void> => {
    const extents = pattern.change(round);
    await fill(source, image, { extents, filling: pattern.filling, seed: `${pattern.name} ${round}` });
    await rbd(source, 'agent', ['snap', 'create', '--no-progress', `${image}@peer-${round + 1}`]);
    bytes = await streamBytes(haul('', round));
  };
  const turns = await takeTurns(contenders, { ...context, prepare });
  const name = `increment, ${pattern.name}`;
  context.report.keep(name, turns);
  context.report.add(...rowsOf(name, turns, false));
};

/** From the first byte to the committed backup: what the pipe does as well. */
export const transferPhases = partsOf('transfer', 'commit');

const goals = {
  pipe: { text: 'full, loopback: not slower than 1.25 x the bare pipe', bound: 'at most', value: 1.25 },
  ssh: { text: 'full, loopback: at most 0.8 x the time through ssh', bound: 'at most', value: 0.8 },
  cpu: { text: 'CPU per GiB below that of the two ssh processes', bound: 'at most', value: 1 },
} as const satisfies Record<string, Goal>;

/** The lines that full, increment and restore have in common. */
export const rowsOf = (name: string, turns: Turns, withGoals: boolean): Row[] => {
  const goal = (of: Goal) => (withGoals ? of : undefined);
  const whole = { case: name, what: 'whole command', ours: subject };
  const transfer = { case: name, what: 'transfer and commit', ours: subject, figure: transferPhases };
  const peerFigure = ({ seconds }: Sample) => seconds;
  const cpu = { case: name, what: 'CPU of both ends', ours: subject, unit: 'CPU s/GiB', figure: cpuPerGiB } as const;
  return [
    compare(turns, { ...whole, peer: pipe, goal: goal(goals.pipe) }),
    compare(turns, { ...transfer, peer: pipe, peerFigure }),
    compare(turns, { ...whole, peer: viaSsh, goal: goal(goals.ssh) }),
    compare(turns, { ...transfer, peer: viaSsh, peerFigure }),
    compare(turns, { ...cpu, peer: viaSsh, goal: goal(goals.cpu) }),
  ];
};
