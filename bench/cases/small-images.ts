import { BackupMode } from '@rbdferry/core/gen/rbdferry/v1/control.js';
import { untilChildless, watchProcesses } from '../measure/processes.js';
import { takeTurns, type Contender, type Sample } from '../measure/turns.js';
import { compare, partsOf, type Goal } from '../report/row.js';
import { MiB, scattered } from '../rig/content.js';
import { fill } from '../rig/fill.js';
import { barePipe } from '../rig/pipes.js';
import { backupPool, createImage, rbd, removeImage, sourcePool } from '../rig/site.js';
import { withStage, type Stage } from '../rig/stage.js';
import type { Case, CaseContext } from './case.js';

const oneByOne = 'rbdferry, one by one';
const together = 'rbdferry, default concurrency';
const pipes = 'export-diff | import-diff, one by one';

const imageBytes = 16 * MiB;
const dataBytes = 4 * MiB;

const goal: Goal = { text: '20 small images: at least 2.5 x faster together', bound: 'at least', value: 2.5 };

/** Many images of little content: what a backup costs beside its bytes. */
export const smallImagesCase: Case = (context) =>
  withStage(context, async (stage) => {
    const images = Array.from({ length: context.quick ? 6 : 20 }, (_, index) => `vm${index}`);
    for (const name of images) await makeImage(stage, name);
    const contenders: Contender[] = [
      { name: oneByOne, run: () => ferryAll(stage, images, inSequence) },
      { name: together, run: () => ferryAll(stage, images, (all) => Promise.all(all.map((start) => start()))) },
      { name: pipes, run: () => pipeAll(stage, images) },
    ];
    const turns = await takeTurns(contenders, { ...context, rounds: Math.min(context.rounds, 3) });
    report(turns, images.length, context);
  });

const report = (turns: Awaited<ReturnType<typeof takeTurns>>, count: number, context: CaseContext): void => {
  const name = `${count} small images, full`;
  const perSecond = ({ seconds }: Sample) => 1 / seconds;
  context.report.keep(name, turns);
  context.report.add(
    {
      ...compare(turns, { case: name, what: 'speed', ours: together, peer: oneByOne, figure: perSecond, goal }),
      unit: '1/s',
    },
    compare(turns, { case: name, what: 'time', ours: oneByOne, peer: pipes }),
    compare(turns, { case: name, what: 'time', ours: together, peer: pipes }),
    compare(turns, {
      case: name,
      what: 'time, the pipe with its snapshot and its image',
      ours: together,
      peer: pipes,
      peerFigure: (sample) => sample.seconds + partsOf('snapshot and image')(sample),
    }),
  );
};

const makeImage = async ({ source }: Stage, name: string): Promise<void> => {
  const image = `${sourcePool}/${name}`;
  await rbd(source, 'agent', ['create', `--size=${imageBytes}B`, image]);
  const extents = scattered(name, { count: dataBytes / MiB, length: MiB, imageBytes });
  await fill(source, image, { extents, filling: 'incompressible', seed: name });
};

type Start = () => Promise<string>;

const inSequence = async (starts: readonly Start[]): Promise<string[]> => {
  const ids: string[] = [];
  for (const start of starts) ids.push(await start());
  return ids;
};

const ferryAll = async (
  { ferry }: Stage,
  images: readonly string[],
  run: (starts: readonly Start[]) => Promise<string[]>,
): Promise<Sample> => {
  const use = await watchProcesses({ agent: ferry.agent.pid, receiver: ferry.receiver.pid });
  const begin = performance.now();
  const ids = await run(
    images.map((name) => async () => (await ferry.control.backup(`${sourcePool}/${name}`, BackupMode.FULL)).backupId),
  );
  const seconds = (performance.now() - begin) / 1000;
  const used = await use();
  await untilChildless([ferry.agent.pid, ferry.receiver.pid]);
  for (const id of ids) await ferry.control.deleteChain(id);
  await untilChildless([ferry.agent.pid, ferry.receiver.pid]);
  return { seconds, bytes: images.length * dataBytes, ...used };
};

const pipeAll = async ({ source, backup }: Stage, images: readonly string[]): Promise<Sample> => {
  let seconds = 0;
  const begin = performance.now();
  for (const name of images) {
    const [image, target] = [`${sourcePool}/${name}`, `${backupPool}/${name}`];
    await rbd(source, 'agent', ['snap', 'create', '--no-progress', `${image}@peer`]);
    await createImage(backup, 'receiver', target, imageBytes);
    const haul = { from: source, to: backup, exporter: 'agent', importer: 'receiver', image, target } as const;
    seconds += (await barePipe({ ...haul, snap: 'peer', bytes: dataBytes })).seconds;
  }
  const around = (performance.now() - begin) / 1000 - seconds;
  for (const name of images) {
    await rbd(source, 'agent', ['snap', 'rm', '--no-progress', `${sourcePool}/${name}@peer`]);
    await removeImage(backup, 'receiver', `${backupPool}/${name}`);
  }
  return { seconds, parts: { 'snapshot and image': around }, bytes: images.length * dataBytes };
};
