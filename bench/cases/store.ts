import { runCli } from '@rbdferry/test/dist/harness/daemon.js';
import { BackupMode } from '@rbdferry/core/gen/rbdferry/v1/control.js';
import { spreadOf } from '../measure/spread.js';
import { samplesOf, takeTurns, type Contender, type Turns } from '../measure/turns.js';
import { compare, type Goal, type Row } from '../report/row.js';
import { MiB } from '../rig/content.js';
import { rbd, sourcePool } from '../rig/site.js';
import { withStage, type Stage } from '../rig/stage.js';
import type { Case, CaseContext } from './case.js';

/** 27 images with 4 backups each: one more than the 107 of the goal. */
const deep = { images: 27, backups: 4 } as const;
/** Images that are made, and backed up, at the same time. */
const atOnce = 16;

const one = 'list of one image';
const whole = 'list of the whole store';
const dryRun = 'delete --all-images --keep-last 1 --dry-run';
const asTable = 'rbdferry list, a table';
const asJson = 'rbdferry list --json';

/** Seconds. */
const bounds = { one: 0.1, whole: 3, dryRun: 1 } as const;
const goalOf = (what: string, seconds: number): Goal => ({
  text: `${what}: at most ${seconds} s`,
  bound: 'at most',
  value: 1,
});
const tableGoal: Goal = { text: 'a table at most 1.1 x the time of JSON', bound: 'at most', value: 1.1 };

/** What is asked of a store: of one with 108 backups, of one with 50 chains, and of one with very many. */
export const storeCase: Case = (context) =>
  withStage(context, async (stage) => {
    const { control } = stage.ferry;
    await backUpTo(stage, { from: 0, to: deep.images }, context);
    for (let more = 1; more < deep.backups; more += 1) {
      for (let index = 0; index < deep.images; index += 1) await control.backup(imageAt(index), BackupMode.INCREMENTAL);
    }
    const few = await takeTurns([timed(dryRun, () => control.planRetention(1))], context);
    const count = deep.images * deep.backups;
    addBound(context, few, { name: dryRun, case: `a store of ${count} backups`, seconds: bounds.dryRun });

    await backUpTo(stage, { from: deep.images, to: 50 }, context);
    await tableAndJson(stage, context);

    const many = context.quick ? 200 : 2000;
    await backUpTo(stage, { from: 50, to: many }, context);
    const lists = [timed(one, () => control.list(imageAt(1))), timed(whole, () => control.list(''))];
    const turns = await takeTurns(lists, context);
    const name = `a store of ${many} images`;
    addBound(context, turns, { name: one, case: name, seconds: bounds.one });
    addBound(context, turns, { name: whole, case: name, seconds: bounds.whole });
  });

const imageAt = (index: number): string => `${sourcePool}/many${index}`;

const backUpTo = async (
  { source, ferry }: Stage,
  { from, to }: { readonly from: number; readonly to: number },
  { log }: CaseContext,
): Promise<void> => {
  for (let begin = from; begin < to; begin += atOnce) {
    const images = Array.from({ length: Math.min(atOnce, to - begin) }, (_, index) => imageAt(begin + index));
    await Promise.all(images.map((image) => rbd(source, 'agent', ['create', `--size=${MiB}B`, image])));
    await Promise.all(images.map((image) => ferry.control.backup(image, BackupMode.FULL)));
    if ((begin - from) % (25 * atOnce) === 0) log(`  ${begin + images.length} images are backed up`);
  }
};

const timed = (name: string, run: () => Promise<unknown>): Contender => ({
  name,
  run: async () => {
    const begin = performance.now();
    await run();
    return { seconds: (performance.now() - begin) / 1000 };
  },
});

const tableAndJson = async ({ ferry }: Stage, context: CaseContext): Promise<void> => {
  const list =
    (...args: string[]) =>
    async () => {
      const { exitCode, stderr } = await runCli(['--socket', ferry.socket, 'list', ...args]);
      if (exitCode !== 0) throw new Error(`rbdferry list exited with ${exitCode}: ${stderr}`);
    };
  const turns = await takeTurns([timed(asTable, list()), timed(asJson, list('--json'))], {
    ...context,
    rounds: context.rounds * 2,
  });
  const name = 'a store of 50 chains';
  context.report.keep(name, turns);
  context.report.add(compare(turns, { case: name, what: asTable, ours: asTable, peer: asJson, goal: tableGoal }));
};

const addBound = (
  { report }: CaseContext,
  turns: Turns,
  bound: { readonly name: string; readonly case: string; readonly seconds: number },
): void => {
  const seconds = samplesOf(turns, bound.name).map((sample) => sample.seconds);
  const row: Row = {
    case: bound.case,
    what: `${bound.name}, in the daemons`,
    peer: 'the bound',
    unit: 's',
    ours: spreadOf(seconds),
    peers: spreadOf([bound.seconds]),
    ratio: spreadOf(seconds.map((each) => each / bound.seconds)),
    goal: goalOf(bound.name, bound.seconds),
  };
  report.keep(`${bound.case}: ${bound.name}`, turns);
  report.add(row);
};
