import { readFile } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';
import { TransferStage } from '@rbdferry/core/gen/rbdferry/v1/control.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { randomBytes } from '../ceph/image-content.js';
import { intercept } from '../fake-ceph/intercept.js';
import { Control, hasEnded } from '../harness/control.js';
import { expectError } from '../harness/expect-error.js';
import { documentedMetrics, scrape, type Scrape } from '../harness/metrics.js';
import type { DaemonInHouse } from './daemon-in-house.js';
import { startHouse, type House } from './house.js';
import { snapOf } from './site.js';

/** What both daemons count and tell of transfers, and which side was waited for. */

const MiB = 1024 * 1024;
const metrics = { metrics: { listen: '127.0.0.1:0' } };
let house: House;

beforeAll(async () => {
  house = await startHouse({ agent: metrics, receiver: metrics });
  for (const daemon of [house.agent, house.receiver]) {
    daemon.between = (ceph) =>
      intercept(ceph, {
        async around({ name }, run) {
          if (slow?.daemon === daemon && slow.step === name) await setTimeout(slow.ms);
          return run();
        },
      });
    await daemon.restart();
  }
});

afterAll(() => house?.stop());

/** The step of a stream that takes longer than it should, and how much. */
let slow: { readonly daemon: DaemonInHouse; readonly step: string; readonly ms: number } | null = null;

const scrapeOf = (daemon: DaemonInHouse): Promise<Scrape> =>
  scrape({
    waitFor: async (message) => {
      const record = daemon.record(message);
      if (record === undefined) throw new Error(`it did not log ${JSON.stringify(message)}`);
      return record;
    },
  });
const both = async () => ({ agent: await scrapeOf(house.agent), receiver: await scrapeOf(house.receiver) });

/** The newest job of the image. */
const jobOf = async (of: string) => {
  const [found] = JSON.parse(await house.ok('jobs', '--image', of, '--limit', '1', '--json')) as {
    id: string;
    streamBytes: number;
    stages: { bottleneck: string };
  }[];
  if (found === undefined) throw new Error(`there is no job of ${of}`);
  return found;
};

const grown = (before: Scrape, after: Scrape) => (name: string, labels?: Record<string, string>) =>
  after.value(name, labels) - before.value(name, labels);

describe('metrics and stages', () => {
  const image = 'rbd/measured';

  it('counts a full, an increment, a restore and a failure on both sides', async () => {
    await house.source.create(image);
    house.source.write(image, 0, randomBytes('measured', 0.75 * MiB));
    const before = await both();
    slow = { daemon: house.receiver, step: 'importDiff.write', ms: 20 };
    const first = await house.ok('backup', image);
    slow = null;
    const full = await jobOf(image);
    house.source.write(image, 0.5 * MiB, randomBytes('more measured', 0.25 * MiB));
    await house.ok('backup', image);
    const increment = await jobOf(image);
    await house.ok('restore', first, '--to', 'rbd/measured-back');
    const restore = await jobOf('rbd/measured-back');
    expectError(await house.cli('backup', 'rbd/nobody'), 'IMAGE_NOT_FOUND', 20, 'rbd/nobody');
    expectError(await house.cli('job', 'show', 'nobody'), 'JOB_NOT_FOUND', 25, 'nobody');
    const after = await both();
    expect(full.streamBytes).toBeGreaterThan(0.75 * MiB);
    expect(increment.streamBytes).toBeGreaterThan(0.25 * MiB);

    const agent = grown(before.agent, after.agent);
    const receiver = grown(before.receiver, after.receiver);
    for (const [of, name] of [
      [agent, 'rbdferry_agent'],
      [receiver, 'rbdferry_receiver'],
    ] as const) {
      expect(of(`${name}_transfers_total`, { kind: 'full', result: 'ok' })).toBe(1);
      expect(of(`${name}_transfers_total`, { kind: 'incremental', result: 'ok' })).toBe(1);
      expect(of(`${name}_transfers_total`, { kind: 'restore', result: 'ok' })).toBe(1);
      expect(of(`${name}_transfers_total`)).toBe(3);
      expect(of(`${name}_stage_wait_seconds_total`, { kind: 'full', stage: 'target' })).toBeGreaterThan(0);
      expect(of(`${name}_stage_wait_seconds_total`, { kind: 'full', stage: 'unknown' })).toBe(0);
    }
    const backedUp = full.streamBytes + increment.streamBytes;
    expect(agent('rbdferry_agent_transfer_bytes_total', { direction: 'sent' })).toBe(backedUp);
    expect(agent('rbdferry_agent_transfer_bytes_total', { direction: 'received' })).toBe(restore.streamBytes);
    expect(receiver('rbdferry_receiver_transfer_bytes_total', { direction: 'received' })).toBe(backedUp);
    expect(receiver('rbdferry_receiver_transfer_bytes_total', { direction: 'sent' })).toBe(restore.streamBytes);
    expect(agent('rbdferry_agent_jobs_total', { kind: 'backup', result: 'ok' })).toBe(2);
    expect(agent('rbdferry_agent_jobs_total', { kind: 'backup', result: 'failed' })).toBe(1);
    expect(agent('rbdferry_agent_jobs_total', { kind: 'restore', result: 'ok' })).toBe(1);
    expect(agent('rbdferry_agent_errors_total', { code: 'IMAGE_NOT_FOUND', origin: 'job' })).toBe(1);
    expect(agent('rbdferry_agent_errors_total', { code: 'JOB_NOT_FOUND', origin: 'call' })).toBe(1);
    expect(after.agent.value('rbdferry_agent_jobs')).toBe(0);
  });

  it('documents every metric, its type and its labels, and none that is not there', async () => {
    const page = documentedMetrics(await readFile(new URL('../../docs/metrics.md', import.meta.url), 'utf8'));
    const { agent, receiver } = await both();
    const live = new Map([...agent.metrics, ...receiver.metrics]);
    expect([...page.keys()].toSorted()).toEqual([...live.keys()].toSorted());
    for (const [name, { type, labels }] of live) {
      expect(`${name} ${type}`).toBe(`${name} ${page.get(name)?.type}`);
      for (const label of labels) expect([...(page.get(name)?.labels ?? [])], name).toContain(label);
    }
  });

  it('knows the last success of each image after a restart, and forgets an image without backups', async () => {
    const labels = { image, store: 'rbd2' };
    const before = await both();
    const success = before.agent.value('rbdferry_agent_last_success_timestamp_seconds', { ...labels, receiver: 'dr' });
    const committed = before.receiver.value('rbdferry_receiver_last_committed_timestamp_seconds', {
      ...labels,
      client: 'agent1',
    });
    expect(Math.abs(Date.now() / 1000 - success)).toBeLessThan(600);
    expect(Math.abs(committed - success)).toBeLessThan(60);
    await house.agent.restart();
    await house.receiver.restart();
    const again = await both();
    expect(again.agent.value('rbdferry_agent_last_success_timestamp_seconds', labels)).toBe(success);
    expect(again.agent.value('rbdferry_agent_last_snapshot_timestamp_seconds', labels)).toBeLessThan(success);
    const lastCommitted = async () =>
      (await scrapeOf(house.receiver)).value('rbdferry_receiver_last_committed_timestamp_seconds', labels);
    await expect.poll(lastCommitted, { timeout: 10_000 }).toBe(committed);

    const [chain] = JSON.parse(await house.ok('list', image, '--json')) as {
      name: string;
      backups: { id: string }[];
    }[];
    await house.ok('delete', chain?.backups.at(-1)?.id ?? '');
    // Until the other ones have been looked at there is none.
    const isEarlier = async () => {
      const at = await lastCommitted();
      return at > 0 && at < committed;
    };
    await expect.poll(isEarlier, { timeout: 10_000 }).toBe(true);
    await house.ok('delete', '--chain', `rbd2/${chain?.name}`);
    await expect.poll(lastCommitted, { timeout: 10_000 }).toBe(0);
  });

  it.each([
    ['target', TransferStage.TARGET, () => house.receiver, 'importDiff.write'],
    ['source', TransferStage.SOURCE, () => house.agent, 'exportDiff.chunk'],
  ] as const)('names a slow %s while a backup runs and afterwards', async (name, stage, daemon, step) => {
    const image = `rbd/slow-${name}`;
    await createWritten(image);
    slow = { daemon: daemon(), step, ms: 400 };
    const before = await both();
    const control = new Control(house.socket);
    try {
      const { id } = await control.startBackup(image);
      const seen = await control.until(
        id,
        ({ state }) =>
          state?.$case === 'running' &&
          state.value.stages?.target !== undefined &&
          state.value.stages.bottleneck === stage,
      );
      expect(seen.state?.$case).toBe('running');
      await control.until(id, hasEnded);
    } finally {
      control.close();
      slow = null;
    }
    const { stages, id } = await jobOf(image);
    expect(stages.bottleneck).toBe(name);
    expect(await house.ok('job', 'show', id)).toMatch(new RegExp(`^${name} .*waited for .*, the bottleneck$`, 'm'));
    for (const each of [house.agent, house.receiver])
      expect(each.record('transfer ended')).toMatchObject({ result: 'ok', bottleneck: name });
    const after = await both();
    for (const [of, from, to] of [
      ['agent', before.agent, after.agent],
      ['receiver', before.receiver, after.receiver],
    ] as const) {
      const waited = (stage: string) =>
        grown(from, to)(`rbdferry_${of}_stage_wait_seconds_total`, { kind: 'full', stage });
      for (const other of ['source', 'wire', 'target', 'unknown'].filter((each) => each !== name))
        expect(waited(name), `${of}: ${name}, ${other}`).toBeGreaterThan(2 * waited(other));
    }
  });

  it('names a slow target of a restore', async () => {
    await createWritten('rbd/slow-back');
    const id = await house.ok('backup', 'rbd/slow-back');
    slow = { daemon: house.agent, step: 'importDiff.write', ms: 200 };
    await house.ok('restore', id, '--to', 'rbd/slow-restored');
    slow = null;
    expect((await jobOf('rbd/slow-restored')).stages.bottleneck).toBe('target');
    expect(house.source.sha256('rbd/slow-restored')).toBe(house.source.sha256(`rbd/slow-back@${snapOf(id)}`));
  });

  /** An image whose stream comes in eight pieces. */
  const createWritten = async (name: string): Promise<void> => {
    await house.source.create(name, { sizeBytes: BigInt(8 * MiB), objectSizeBytes: MiB, stripeUnitBytes: MiB });
    house.source.write(name, 0, randomBytes(name, 7.5 * MiB));
  };
});
