import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { ErrorCode } from '@rbdferry/core/errors/registry.js';
import { createLogger } from '@rbdferry/core/log/logger.js';
import type { Backup } from '@rbdferry/core/model/chain.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AgentMetrics } from '../agent-metrics.js';
import type { AgentConfig } from '../config.js';
import type { ReceiverClient } from '../receiver-client/receiver-client.js';
import type { JobContext } from './job-context.js';
import type { JobKind } from './job-kind.js';
import { JobRunner } from './job-runner.js';
import { JobStore } from './job-store.js';
import type { JobRequest } from './job.js';
import type { LooseEndKinds } from './loose-end-kind.js';
import { LooseEnds } from './loose-ends.js';

/** The runner with kinds of jobs that exist here only: it knows none. */

let directory: string;
let stores = 0;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'rbdferry-runner-'));
});

afterAll(() => rm(directory, { recursive: true, force: true }));

interface ImageRequest extends JobRequest {
  readonly image: string;
}

type Step = (context: JobContext) => Promise<void>;

const kindOf = (step: Step, more: Partial<JobKind<ImageRequest>> = {}): JobKind<ImageRequest> => ({
  priority: 1,
  transfers: true,
  reads: false,
  image: ({ image }) => image,
  backupId: () => null,
  transferKind: () => 'full',
  async run(_, context) {
    await step(context);
    return { streamBytes: 7n };
  },
  recover: () => Promise.resolve({ kind: 'cancelled' }),
  commitAfterAll: () => Promise.resolve(['found out later']),
  ...more,
});

/** A step that goes on when it is told to, and then ends as it is told to. */
class Gate {
  entered = 0;
  readonly #open: (() => void)[] = [];

  readonly step: Step = ({ signal }) =>
    new Promise((resolve, reject) => {
      this.entered += 1;
      this.#open.push(resolve);
      signal.addEventListener('abort', () => {
        reject(signal.reason as Error);
      });
    });

  /** Lets the first one go on. */
  open(): void {
    this.#open.shift()?.();
  }
}

const scene = (kinds: Record<string, JobKind<ImageRequest>>, ends: LooseEndKinds = {}) => {
  stores += 1;
  const path = join(directory, `${stores}`);
  const store = new JobStore(path);
  const clock = { ms: 1_000_000 };
  const now = () => clock.ms;
  const looseEnds = new LooseEnds(store, { kinds: ends, now });
  let broken = 0;
  const receiver = { close() {}, compression: { kind: 'none' }, aheadMs: 0, name: 'dr' };
  const runner = new JobRunner({
    kinds,
    store,
    looseEnds,
    ceph: {} as never,
    config: () => ({ receivers: {}, max_transfers: 1 }) as unknown as AgentConfig,
    log: createLogger('test', 'silent'),
    metrics: new AgentMetrics(),
    connect: () => Promise.resolve(receiver as unknown as ReceiverClient),
    now,
    onBroken: () => {
      broken += 1;
    },
  });
  const submit = (kind: string, image: string, more: Partial<JobRequest> = {}): string => {
    const request: ImageRequest = { kind, image, receiver: 'dr', store: 'main', ...more };
    return runner.submit(request).id;
  };
  /** Looks again at what waits. */
  const look = async () => {
    await runner.unlessBusy('nobody/cares', () => Promise.resolve());
    await turns();
  };
  return { store, clock, looseEnds, runner, submit, look, brokenTimes: () => broken };
};

const turns = async (): Promise<void> => {
  for (let each = 0; each < 20; each += 1) await setImmediate();
};

describe('slots', () => {
  it('belong to the transfer: a job without one runs beside, and what comes after it lets the next one in', async () => {
    const [transfer, cleanUp, parent] = [new Gate(), new Gate(), new Gate()];
    const { runner, submit } = scene({
      sends: kindOf(async (context) => {
        context.phase('transfer');
        await transfer.step(context);
        context.phase('clean-up');
        await cleanUp.step(context);
      }),
      waits: kindOf(parent.step, { transfers: false }),
    });
    const first = submit('sends', 'rbd/a');
    const second = submit('sends', 'rbd/b');
    submit('waits', 'rbd/c');
    await turns();
    expect(parent.entered).toBe(1);
    expect(transfer.entered).toBe(1);
    expect(runner.get(second)).toMatchObject({ state: { kind: 'queued' }, waitsFor: 'one of 1 transfers to end' });
    transfer.open();
    await turns();
    expect(runner.get(first).state).toMatchObject({ kind: 'running', phase: 'clean-up' });
    expect(transfer.entered).toBe(2);
    await runner.stop();
  });

  it('go to the kind that comes first, and each image to one job', async () => {
    const order: string[] = [];
    const gate = new Gate();
    const noting = (name: string) => kindOf(async (context) => (order.push(name), gate.step(context)));
    const { runner, submit } = scene({ late: noting('late'), early: { ...noting('early'), priority: 0 } });
    submit('late', 'rbd/a');
    submit('late', 'rbd/b');
    const early = submit('early', 'rbd/a');
    await turns();
    expect(runner.get(early).waitsFor).toContain('one of 1 transfers');
    for (let each = 0; each < 3; each += 1) {
      gate.open();
      await turns();
    }
    expect(order).toEqual(['late', 'early', 'late']);
    await runner.stop();
  });
});

describe('attempts', () => {
  const failing = (...codes: (ErrorCode | 'ok')[]) =>
    kindOf(() => {
      const code = codes.shift() ?? 'ok';
      return code === 'ok' ? Promise.resolve() : Promise.reject(new FerryError(code, 'that is how it is'));
    });

  it('follow each other with longer and longer pauses, until one succeeds', async () => {
    const of = scene({ sends: failing('RECEIVER_UNREACHABLE', 'CEPH_UNAVAILABLE', 'ok') });
    const id = of.submit('sends', 'rbd/a', { attempts: 3 });
    await turns();
    expect(of.runner.get(id)).toMatchObject({
      state: { kind: 'queued', retry: { attempt: 2, notBeforeMs: 1_030_000 } },
      waitsFor: 'the receiver to come back, attempt 2 at 1970-01-01 00:17:10Z',
    });
    of.clock.ms += 29_999;
    await of.look();
    expect(of.runner.get(id).state.kind).toBe('queued');
    of.clock.ms += 1;
    await of.look();
    expect(of.runner.get(id)).toMatchObject({
      state: { kind: 'queued', retry: { attempt: 3, notBeforeMs: 1_090_000 } },
      waitsFor: 'CEPH_UNAVAILABLE to pass, attempt 3 at 1970-01-01 00:18:10Z',
    });
    of.clock.ms += 60_000;
    await of.look();
    expect(of.runner.get(id).state).toMatchObject({ kind: 'committed', attempt: 3 });
  });

  it.each<[string, ErrorCode, number | undefined]>([
    ['that needs somebody to do something', 'CEPH_PERMISSION', 5],
    ['when none was asked for', 'RECEIVER_UNREACHABLE', undefined],
  ])('there is no other one after a failure %s', async (_, code, attempts) => {
    const of = scene({ sends: failing(code) });
    const id = of.submit('sends', 'rbd/a', attempts === undefined ? {} : { attempts });
    await turns();
    expect(of.runner.get(id).state).toMatchObject({ kind: 'failed', error: { code } });
    expect(of.brokenTimes()).toBe(1);
  });

  it('end with the last one', async () => {
    const of = scene({ sends: failing('CONNECTION_LOST', 'CONNECTION_LOST') });
    const id = of.submit('sends', 'rbd/a', { attempts: 2 });
    await turns();
    of.clock.ms += 30_000;
    await of.look();
    expect(of.runner.get(id).state).toMatchObject({ kind: 'failed', attempt: 2, error: { code: 'CONNECTION_LOST' } });
  });

  it('do not keep a job from being cancelled, and what it left is settled then', async () => {
    const of = scene({ sends: failing('CONNECTION_LOST') });
    const id = of.submit('sends', 'rbd/a', { attempts: 9 });
    await turns();
    const broken = of.brokenTimes();
    expect((await of.runner.cancel(id, new AbortController().signal)).state.kind).toBe('cancelled');
    expect(of.runner.owns(id)).toBe(false);
    expect(of.brokenTimes()).toBe(broken + 1);
  });

  it('survive the agent', async () => {
    const of = scene({ sends: failing('CONNECTION_LOST') });
    const id = of.submit('sends', 'rbd/a', { attempts: 2 });
    await turns();
    await of.runner.stop();
    expect(of.store.get(id)?.state).toMatchObject({ kind: 'queued', retry: { attempt: 2 } });
  });

  it('begin with what the one before left: a backup that was committed after all is not made again', async () => {
    let runs = 0;
    const backup = { id: 'x', streamBytes: 42n } as unknown as Backup;
    const of = scene(
      {
        sends: kindOf((context) => {
          runs += 1;
          context.looseEnd({ kind: 'end' });
          return Promise.reject(new FerryError('CONNECTION_LOST', 'at the commit'));
        }),
      },
      { end: { settle: () => Promise.resolve({ kind: 'completed', backup }) } },
    );
    const id = of.submit('sends', 'rbd/a', { attempts: 2 });
    await turns();
    of.clock.ms += 30_000;
    await of.look();
    expect(of.runner.get(id).state).toMatchObject({
      kind: 'committed',
      streamBytes: 42,
      warnings: ['found out later'],
    });
    expect(runs).toBe(1);
    expect(of.looseEnds.of(id)).toEqual([]);
  });

  it('do not do again what the one before did: a restore whose image has its name is done', async () => {
    let runs = 0;
    const of = scene(
      {
        sends: kindOf((context) => {
          runs += 1;
          context.looseEnd({ kind: 'end' });
          return Promise.reject(new FerryError('CEPH_TIMEOUT', 'at the rename'));
        }),
      },
      { end: { settle: () => Promise.resolve({ kind: 'completed', backup: null }) } },
    );
    const id = of.submit('sends', 'rbd/a', { attempts: 2 });
    await turns();
    of.clock.ms += 30_000;
    await of.look();
    expect(of.runner.get(id).state).toMatchObject({ kind: 'committed', attempt: 2 });
    expect(runs).toBe(1);
  });
});

describe('jobs of a batch', () => {
  const askFor = (image: string): ImageRequest => ({ kind: 'sends', image, receiver: 'dr', store: 'main' });

  it('that are held and have not started let go of their image when it is to be restored', async () => {
    const [sends, restores, batch] = [new Gate(), new Gate(), new Gate()];
    const begun: unknown[] = [];
    const { runner, submit } = scene({
      batch: kindOf(
        async (context) => {
          context.children.add([askFor('rbd/a'), askFor('rbd/b')], (children) => {
            for (const child of children) {
              expect(child.hold()).toBe(true);
              child.queue('in advance', { isLarge: false });
            }
          });
          context.children.start();
          await batch.step(context);
        },
        { transfers: false, hasChildren: true },
      ),
      sends: kindOf(async (context) => (begun.push(context.begun), sends.step(context))),
      restores: kindOf(restores.step, { priority: 0, transfers: false }),
    });
    submit('batch', '');
    await turns();
    expect([sends.entered, begun]).toEqual([1, ['in advance']]);
    submit('restores', 'rbd/b');
    await turns();
    expect(restores.entered).toBe(1);
    restores.open();
    await turns();
    // It has nothing in advance any more, and begins by itself when its turn comes.
    sends.open();
    await turns();
    expect(begun).toEqual(['in advance', null]);
    await runner.stop();
  });

  it('let go of it as well for one that knows its image only when it runs', async () => {
    const [sends, restores, batch] = [new Gate(), new Gate(), new Gate()];
    const { runner, submit } = scene({
      batch: kindOf(
        async (context) => {
          context.children.add([askFor('rbd/a'), askFor('rbd/b')], (children) => {
            for (const child of children) {
              child.hold();
              child.queue('in advance', { isLarge: false });
            }
          });
          context.children.start();
          await batch.step(context);
        },
        { transfers: false, hasChildren: true },
      ),
      sends: kindOf(sends.step),
      late: kindOf(
        async (context) => {
          await context.hold('rbd/b');
          await restores.step(context);
        },
        { priority: 0, transfers: false, image: () => '' },
      ),
    });
    submit('batch', '');
    await turns();
    submit('late', '');
    await turns();
    expect(restores.entered).toBe(1);
    await runner.stop();
  });

  it('that could not be written down hold nothing', async () => {
    const { runner, submit, store } = scene({
      batch: kindOf(
        (context) => {
          context.children.add([askFor('rbd/a')], ([child]) => {
            child?.hold();
            throw new FerryError('CEPH_FAILED', 'the disk is full');
          });
          return Promise.resolve();
        },
        { transfers: false, hasChildren: true },
      ),
      sends: kindOf(() => Promise.resolve()),
    });
    const id = submit('batch', '');
    await turns();
    expect(runner.get(id).state).toMatchObject({ kind: 'failed', error: { message: 'the disk is full' } });
    expect(store.list({ parent: id, limit: 10 })).toEqual([]);
    expect(await runner.exclusively('rbd/a', () => Promise.resolve('free'))).toBe('free');
    await runner.stop();
  });
});
