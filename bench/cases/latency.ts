import { join } from 'node:path';
import { BackupMode } from '@rbdferry/core/gen/rbdferry/v1/control.js';
import { takeTurns, type Sample } from '../measure/turns.js';
import { compare, type Goal } from '../report/row.js';
import { subject } from '../report/transfer-rows.js';
import { MiB, scattered, type Extent } from '../rig/content.js';
import { startFerry } from '../rig/ferry.js';
import { fill } from '../rig/fill.js';
import { barePipe } from '../rig/pipes.js';
import { makeRecorder, type Ran } from '../rig/shim.js';
import { backupPool, createImage, rbd, sourcePool } from '../rig/site.js';
import { withStage, type Stage } from '../rig/stage.js';
import type { Case, CaseContext } from './case.js';
import { measureJob } from './backups.js';

const image = `${sourcePool}/vm`;
const target = `${backupPool}/vm`;
const byHand = 'its rbd commands by hand';
const imageBytes = 512 * MiB;

const goal: Goal = { text: 'increment without change: at most 1.3 x the rbd commands', bound: 'at most', value: 1.3 };

/** How long the whole command takes when there is next to nothing to carry. */
export const latencyCase: Case = (context) =>
  withStage(context, async (stage) => {
    await prepareImages(stage);
    await stage.ferry.control.backup(image, BackupMode.FULL);
    await increments(stage, { name: 'increment, no change', extents: () => [], firstRound: 0 }, context);
    const changed = (round: number) => scattered(`latency ${round}`, { count: 1, length: MiB, imageBytes });
    await increments(stage, { name: 'increment, 1 MiB changed', extents: changed, firstRound: 1000 }, context);
    await listCommands(stage, context);
  });

const prepareImages = async ({ source, backup }: Stage): Promise<void> => {
  await rbd(source, 'agent', ['create', `--size=${imageBytes}B`, image]);
  const extents = scattered('latency', { count: 64, length: MiB, imageBytes });
  await fill(source, image, { extents, filling: 'incompressible', seed: 'latency' });
  await createImage(backup, 'receiver', target, imageBytes);
};

interface Change {
  readonly name: string;
  readonly extents: (round: number) => readonly Extent[];
  /** Number of the peer's first snapshot. */
  readonly firstRound: number;
}

const increments = async (stage: Stage, change: Change, context: CaseContext): Promise<void> => {
  const { ferry, source } = stage;
  const first = `peer-${change.firstRound}`;
  await rbd(source, 'agent', ['snap', 'create', '--no-progress', `${image}@${first}`]);
  await rbd(stage.backup, 'receiver', ['snap', 'create', '--no-progress', `${target}@${first}`]);
  const contenders = [
    { name: subject, run: () => measureJob(ferry, () => ferry.control.backup(image, BackupMode.INCREMENTAL)) },
    { name: byHand, run: (round: number) => runByHand(stage, change.firstRound + round) },
  ];
  const prepare = async (round: number): Promise<void> => {
    const extents = change.extents(round);
    const seed = `latency ${change.name} ${round}`;
    if (extents.length > 0) await fill(source, image, { extents, filling: 'incompressible', seed });
  };
  const turns = await takeTurns(contenders, { ...context, rounds: context.rounds * 2, prepare });
  const isFirst = change.firstRound === 0;
  context.report.keep(change.name, turns);
  context.report.add(
    compare(turns, {
      case: change.name,
      what: 'whole command',
      ours: subject,
      peer: byHand,
      goal: isFirst ? goal : undefined,
    }),
  );
};

/**
 * What an incremental backup cannot do without, one command after the other: look at the image, its snapshots and its
 * metadata; look for its chain and the chain's snapshots; make the snapshot and learn its id; mark the backup image as
 * being written to; carry the difference; write the backup's facts; mark it as clean; remove the snapshot before.
 */
const runByHand = async ({ source, backup }: Stage, round: number): Promise<Sample> => {
  const [snap, fromSnap] = [`peer-${round + 1}`, `peer-${round}`];
  const parts: Record<string, number> = {};
  const timed = async (what: string, step: () => Promise<unknown>): Promise<void> => {
    const begin = performance.now();
    await step();
    parts[what] = (performance.now() - begin) / 1000;
  };
  const near = (args: readonly string[]) => () => rbd(source, 'agent', args);
  const far = (args: readonly string[]) => () => rbd(backup, 'receiver', args);
  await timed('info', near(['info', '--format=json', image]));
  await timed('snap ls', near(['snap', 'ls', '--format=json', image]));
  await timed('image-meta list', near(['image-meta', 'list', '--format=json', image]));
  await timed('ls (backup)', far(['ls', '--format=json', backupPool]));
  await timed('snap ls (backup)', far(['snap', 'ls', '--format=json', target]));
  await timed('snap create', near(['snap', 'create', '--no-progress', `${image}@${snap}`]));
  await timed('snap ls again', near(['snap', 'ls', '--format=json', image]));
  await timed('image-meta set (backup) 1', far(['image-meta', 'set', target, 'state', 'receiving']));
  const haul = { from: source, to: backup, exporter: 'agent', importer: 'receiver', image, target, bytes: 0 } as const;
  await timed('export-diff | import-diff', () => barePipe({ ...haul, snap, fromSnap }));
  await timed('image-meta set (backup) 2', far(['image-meta', 'set', target, snap, 'x'.repeat(600)]));
  await timed('image-meta set (backup) 3', far(['image-meta', 'set', target, 'state', 'clean']));
  await timed('snap rm', near(['snap', 'rm', '--no-progress', `${image}@${fromSnap}`]));
  return { seconds: Object.values(parts).reduce((sum, value) => sum + value, 0), parts };
};

/** What rbdferry itself runs for an increment without change, and when. */
const listCommands = async (stage: Stage, context: CaseContext): Promise<void> => {
  await stage.ferry.stop();
  const recorders = { agent: join(context.dir, 'agent-bin'), receiver: join(context.dir, 'receiver-bin') };
  const [near, far] = await Promise.all([makeRecorder(recorders.agent), makeRecorder(recorders.receiver)]);
  const ferry = await startFerry({
    ...stage,
    adapter: context.adapter,
    dir: context.dir,
    agentEnv: near.env,
    receiverEnv: far.env,
  });
  try {
    await measureJob(ferry, () => ferry.control.backup(image, BackupMode.AUTO));
    const before = { near: (await near.ran()).length, far: (await far.ran()).length };
    await measureJob(ferry, () => ferry.control.backup(image, BackupMode.INCREMENTAL));
    context.report.note(`commands of the second increment, agent: ${listed((await near.ran()).slice(before.near))}`);
    context.report.note(`commands of the second increment, receiver: ${listed((await far.ran()).slice(before.far))}`);
  } finally {
    await ferry.stop();
  }
};

const listed = (runs: readonly Ran[]): string => {
  const begin = runs[0]?.start ?? 0;
  return runs
    .map(({ start, end, command }) => `${command} (${(start - begin).toFixed(2)}-${(end - begin).toFixed(2)} s)`)
    .join(', ');
};
