import { runCli } from '@rbdferry/test/dist/harness/daemon.js';
import { BackupMode } from '@rbdferry/core/gen/rbdferry/v1/control.js';
import { treeCpuSeconds, untilChildless } from '../measure/processes.js';
import { takeTurns, type Sample } from '../measure/turns.js';
import { compare, cpuOf, partsOf, type Goal } from '../report/row.js';
import { subject } from '../report/transfer-rows.js';
import { MiB } from '../rig/content.js';
import type { Ferry } from '../rig/ferry.js';
import { fill } from '../rig/fill.js';
import { barePipe } from '../rig/pipes.js';
import { runScript, scriptFor, type Copy } from '../rig/script.js';
import { backupPool, createImage, rbd, sourcePool } from '../rig/site.js';
import { withStage, type Stage } from '../rig/stage.js';
import type { Case, CaseContext } from './case.js';

const script = "a script's four commands";
const imageBytes = 16 * MiB;
const changeBytes = 64 * 1024;

const goals = {
  job: { text: 'increment without a change: the job at most as long as the script', bound: 'at most', value: 1 },
  command: { text: 'the whole command at most 1.8 x the script', bound: 'at most', value: 1.8 },
  cpu: { text: 'CPU of the daemons and their children at most 1.5 x that of the script', bound: 'at most', value: 1.5 },
  together: { text: 'small increments at once: at most 0.6 x the loop of the script', bound: 'at most', value: 0.6 },
  far: { text: 'the same far from the OSDs: at most 0.4 x', bound: 'at most', value: 0.4 },
} as const satisfies Record<string, Goal>;

/** What a night is made of: increments of next to nothing, beside what a shell script does. */
export const nightCase: Case = (context) =>
  withStage(context, async (stage) => {
    await oneIncrement(stage, context);
    await together(stage, context.quick ? [10] : [10, 20, 100], context);
  });

/** An image, its first backup, and its copy for the script. */
const makeCopy = async ({ source, backup }: Stage, name: string): Promise<Copy> => {
  const [image, target] = [`${sourcePool}/${name}`, `${backupPool}/${name}`];
  await rbd(source, 'agent', ['create', `--size=${imageBytes}B`, image]);
  await fill(source, image, { extents: [{ offset: 0, length: MiB }], filling: 'incompressible', seed: name });
  await rbd(source, 'agent', ['snap', 'create', '--no-progress', `${image}@script-0`]);
  await createImage(backup, 'receiver', target, imageBytes);
  const ends = { from: source, to: backup, exporter: 'agent', importer: 'receiver' } as const;
  await barePipe({ ...ends, image, target, snap: 'script-0', bytes: MiB });
  return { image, target };
};

const oneIncrement = async (stage: Stage, context: CaseContext): Promise<void> => {
  const { ferry } = stage;
  const copy = await makeCopy(stage, 'alone');
  await ferry.control.backup(copy.image, BackupMode.FULL);
  const contenders = [
    { name: subject, run: () => withCpu(ferry, () => wholeCommand(ferry, copy.image)) },
    { name: script, run: (round: number) => runScript(scriptFor(stage, [copy], snapsOf(round))) },
  ];
  const turns = await takeTurns(contenders, {
    ...context,
    rounds: context.quick ? context.rounds : Math.max(10, context.rounds * 2),
  });
  const name = 'increment, no change, beside a script';
  const both = { case: name, ours: subject, peer: script };
  context.report.keep(name, turns);
  context.report.add(
    compare(turns, {
      ...both,
      what: 'job',
      figure: partsOf('job'),
      peerFigure: ({ seconds }) => seconds,
      goal: goals.job,
    }),
    compare(turns, { ...both, what: 'rbdferry backup', goal: goals.command }),
    compare(turns, { ...both, what: 'CPU of daemons and children', figure: cpuOf, goal: goals.cpu }),
  );
};

const snapsOf = (round: number) => ({ from: `script-${round}`, to: `script-${round + 1}` });

/** `rbdferry backup` as a user runs it; what the agent says of the job's time is a part. */
const wholeCommand = async (ferry: Ferry, image: string): Promise<Sample> => {
  const begin = performance.now();
  const { exitCode, stdout, stderr } = await runCli([
    '--socket',
    ferry.socket,
    'backup',
    image,
    '--mode',
    'incr',
    '--json',
  ]);
  const seconds = (performance.now() - begin) / 1000;
  if (exitCode !== 0) throw new Error(`rbdferry backup ${image} exited with ${exitCode}: ${stderr}`);
  const { createdAt, endedAt } = JSON.parse(stdout) as { createdAt: string; endedAt: string };
  return { seconds, parts: { job: (Date.parse(endedAt) - Date.parse(createdAt)) / 1000 } };
};

/** With the CPU of both daemons and of all that they start, also of what goes on behind the answer. */
const withCpu = async (ferry: Ferry, run: () => Promise<Sample>): Promise<Sample> => {
  const pids = { agent: ferry.agent.pid, receiver: ferry.receiver.pid };
  const used = async () => [await treeCpuSeconds(pids.agent), await treeCpuSeconds(pids.receiver)] as const;
  const before = await used();
  const sample = await run();
  await untilChildless([pids.agent, pids.receiver]);
  const after = await used();
  return { ...sample, cpu: { agent: after[0] - before[0], receiver: after[1] - before[1] } };
};

/** Many images with a small change each, all at once, and the script's loop over them. */
export const together = async (
  stage: Stage,
  counts: readonly number[],
  context: CaseContext & { readonly where?: string },
): Promise<void> => {
  const { ferry, source } = stage;
  const all: Copy[] = [];
  // The script's snapshots, by count of images: each count goes on where it was.
  let first = 0;
  for (const count of counts) {
    while (all.length < count) {
      const copy = await makeCopy(stage, `night${all.length}`);
      await ferry.control.backup(copy.image, BackupMode.FULL);
      all.push(copy);
    }
    const copies = all.slice(0, count);
    if (first > 0) await catchUp(stage, copies, first);
    const begun = first;
    const contenders = [
      { name: subject, run: () => withCpu(ferry, () => allAtOnce(ferry, copies)) },
      { name: script, run: (round: number) => runScript(scriptFor(stage, copies, snapsOf(begun + round))) },
    ];
    const prepare = async (round: number): Promise<void> => {
      const extents = [{ offset: ((begun + round + 1) * changeBytes) % imageBytes, length: changeBytes }];
      for (const { image } of copies)
        await fill(source, image, { extents, filling: 'incompressible', seed: `${round}` });
    };
    const rounds = Math.min(context.rounds, 5);
    const turns = await takeTurns(contenders, { ...context, rounds, prepare });
    first += rounds + 1;
    const name = `${count} small increments at once${context.where ?? ''}`;
    const goal = context.where === undefined ? goals.together : goals.far;
    context.report.keep(name, turns);
    context.report.add(
      compare(turns, { case: name, what: 'time', ours: subject, peer: script, goal }),
      compare(turns, { case: name, what: 'CPU', ours: subject, peer: script, figure: cpuOf }),
    );
  }
};

/** Gives the copies that were made since the snapshot that the others have by now. */
const catchUp = async (stage: Stage, copies: readonly Copy[], round: number): Promise<void> => {
  for (const copy of copies) {
    const snaps = await rbd(stage.source, 'agent', ['snap', 'ls', '--format=json', copy.image]);
    if (snaps.includes(`"script-${round}"`)) continue;
    await runScript(scriptFor(stage, [copy], { from: 'script-0', to: `script-${round}` }));
  }
};

/** One batch; how far its snapshots were apart is a part. */
const allAtOnce = async (ferry: Ferry, copies: readonly Copy[]): Promise<Sample> => {
  const { seconds, job } = await ferry.control.batch(
    copies.map(({ image }) => image),
    BackupMode.INCREMENTAL,
  );
  return { seconds, parts: { snapshots: (job.children?.snapshotSpreadMs ?? 0) / 1000 } };
};
