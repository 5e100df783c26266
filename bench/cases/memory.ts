import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { BackupMode } from '@rbdferry/core/gen/rbdferry/v1/control.js';
import { untilChildless, watchProcesses } from '../measure/processes.js';
import { spreadOf } from '../measure/spread.js';
import type { Goal, Row } from '../report/row.js';
import { GiB, MiB } from '../rig/content.js';
import { startFerry, type Ferry } from '../rig/ferry.js';
import { commandLine } from '../rig/shell.js';
import { makeShim, type Shim } from '../rig/shim.js';
import { rbd, sourcePool } from '../rig/site.js';
import { withStage, type Stage } from '../rig/stage.js';
import type { Case, CaseContext } from './case.js';

const goal: Goal = { text: 'each daemon under 250 MB', bound: 'at most', value: 1 };
const boundBytes = 250e6;

const imageBytes = 10 * GiB;
const images = ['big1', 'big2'];
const fakeRbd = fileURLToPath(new URL('../rig/fake-rbd.js', import.meta.url));

/** How the far side's `rbd import-diff` takes what it gets. */
interface Sink {
  readonly name: string;
  readonly bytesPerSecond: number;
  readonly stopAfterBytes: number;
}

const sinks: readonly Sink[] = [
  { name: 'a sink of 5 MB/s', bytesPerSecond: 5e6, stopAfterBytes: imageBytes },
  { name: 'a far side that stops reading', bytesPerSecond: 1e12, stopAfterBytes: 64 * MiB },
];

/** Memory of both daemons while streams of 10 GiB wait for a far side that does not keep up; two at once. */
export const memoryCase: Case = (context) =>
  withStage(context, async (stage) => {
    for (const name of images) {
      await rbd(stage.source, 'agent', ['create', `--size=${imageBytes}B`, `${sourcePool}/${name}`]);
    }
    await stage.ferry.stop();
    const forMs = context.quick ? 15_000 : 60_000;
    for (const sink of sinks) {
      await backups(stage, sink, { ...context, forMs });
      await restores(stage, sink, { ...context, forMs });
    }
  });

type MemoryContext = CaseContext & { readonly forMs: number };

let count = 0;

/** An `rbd` that fakes the transfers as long as {@link FakeShim.faking} says so. */
interface FakeShim extends Shim {
  faking(really: boolean): Promise<void>;
}

const makeFake = async (dir: string, sink: Sink): Promise<FakeShim> => {
  const bin = join(dir, `fake-${(count += 1)}`);
  const flag = `${bin}.on`;
  const node = commandLine([process.execPath, fakeRbd]);
  const script = [
    `[ -e ${flag} ] || exec "$real" "$@"`,
    'case " $* " in',
    `*" export-diff "*) exec ${node} export ${imageBytes} "$@" ;;`,
    `*" import-diff "*) exec ${node} import ${sink.bytesPerSecond} ${sink.stopAfterBytes} ;;`,
    'esac',
    'exec "$real" "$@"',
  ];
  const shim = await makeShim(bin, { rbd: script.join('\n') });
  return {
    ...shim,
    faking: (really) => (really ? writeFile(flag, '') : rm(flag, { force: true })),
  };
};

const withFakes = async (
  stage: Stage,
  sink: Sink,
  context: MemoryContext,
  use: (ferry: Ferry, faking: (really: boolean) => Promise<void>) => Promise<void>,
): Promise<void> => {
  const fake = await makeFake(context.dir, sink);
  const ferry = await startFerry({
    ...stage,
    adapter: context.adapter,
    dir: context.dir,
    agentEnv: fake.env,
    receiverEnv: fake.env,
  });
  try {
    await use(ferry, (really) => fake.faking(really));
  } finally {
    await ferry.stop();
  }
};

const backups = (stage: Stage, sink: Sink, context: MemoryContext): Promise<void> =>
  withFakes(stage, sink, context, async (ferry, faking) => {
    await faking(true);
    const start = (name: string) => ferry.control.startBackup(`${sourcePool}/${name}`, BackupMode.FULL);
    await watch(`two backups into ${sink.name}`, { ferry, start, of: images }, context);
  });

const restores = (stage: Stage, sink: Sink, context: MemoryContext): Promise<void> =>
  withFakes(stage, sink, context, async (ferry, faking) => {
    const { backupId } = await ferry.control.backup(`${sourcePool}/${images[0] ?? ''}`, BackupMode.FULL);
    await faking(true);
    const start = (name: string) => ferry.control.startRestore(backupId, `${sourcePool}/${name}-restored`);
    await watch(`two restores into ${sink.name}`, { ferry, start, of: images }, context);
    await faking(false);
    await ferry.control.deleteChain(backupId);
  });

interface Jobs {
  readonly ferry: Ferry;
  readonly start: (name: string) => Promise<string>;
  readonly of: readonly string[];
}

/** Lets the jobs run for the time, then gives them up. */
const watch = async (name: string, { ferry, start, of }: Jobs, context: MemoryContext): Promise<void> => {
  const use = await watchProcesses({ agent: ferry.agent.pid, receiver: ferry.receiver.pid });
  const ids = await Promise.all(of.map(start));
  await sleep(context.forMs);
  const { peakBytes } = await use();
  const moved = await Promise.all(ids.map((id) => ferry.control.doneBytes(id)));
  context.log(`  ${name}: ${JSON.stringify(peakBytes)}, moved ${moved.join(' and ')} bytes`);
  context.report.note(
    `${name}: ${moved.map((bytes) => `${Math.round(bytes / 1e6)} MB`).join(' and ')} moved in ${context.forMs / 1000} s`,
  );
  context.report.add(...Object.entries(peakBytes).map(([who, bytes]) => rowOf(name, who, bytes)));
  await Promise.all(ids.map((id) => ferry.control.cancel(id)));
  await untilChildless([ferry.agent.pid, ferry.receiver.pid]);
};

const rowOf = (name: string, who: string, bytes: number): Row => ({
  case: name,
  what: `peak resident memory, ${who}`,
  peer: 'the bound',
  unit: 'MB',
  ours: spreadOf([bytes / 1e6]),
  peers: spreadOf([boundBytes / 1e6]),
  ratio: spreadOf([bytes / boundBytes]),
  goal,
});
