import { Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { TransferStages } from '../transfer/transfer-stages.js';
import { TransferMetrics } from './transfer-metrics.js';

const setUp = () => {
  const clock = { ms: 0 };
  const registry = new Registry();
  const metrics = new TransferMetrics('x_', registry);
  const wait = async (stages: TransferStages, ms: number) => {
    const step = stages.meter.leaving(Promise.resolve());
    clock.ms += ms;
    await step;
  };
  const lines = async () => (await registry.metrics()).split('\n').filter((line) => /^x_.* [1-9]/.test(line));
  return { metrics, wait, lines, newStages: () => new TransferStages('sender', () => clock.ms) };
};

describe('the metrics of transfers', () => {
  it('count one under way as far as it has come, and nothing twice', async () => {
    const { metrics, wait, lines, newStages } = setUp();
    const stages = newStages();
    const end = metrics.begin({ kind: 'full', direction: 'sent' }, stages);
    stages.meter.passed(100);
    await wait(stages, 2_000);
    expect(await lines()).toEqual(['x_transfer_bytes_total{direction="sent"} 100', 'x_transfers_open{kind="full"} 1']);
    stages.heard({ bytes: 100, upstreamMs: 0, downstreamMs: 1_500, limitMs: 0 });
    stages.meter.passed(10);
    const target = 'x_stage_wait_seconds_total{kind="full",stage="target"} 1.5';
    expect(await lines()).toContain(target);
    expect(await lines()).toContain(target);
    end('ok');
    end('failed');
    expect(await lines()).toEqual([
      'x_transfers_total{kind="full",result="ok"} 1',
      'x_transfer_bytes_total{direction="sent"} 110',
      target,
    ]);
  });

  it('say that a far end that tells nothing was waited for', async () => {
    const { metrics, wait, lines, newStages } = setUp();
    const stages = newStages();
    const end = metrics.begin({ kind: 'restore', direction: 'sent' }, stages);
    await wait(stages, 3_000);
    end('cancelled');
    expect(await lines()).toEqual([
      'x_transfers_total{kind="restore",result="cancelled"} 1',
      'x_stage_wait_seconds_total{kind="restore",stage="unknown"} 3',
    ]);
  });

  it('never go back', async () => {
    const { metrics, lines, newStages, wait } = setUp();
    const stages = newStages();
    const end = metrics.begin({ kind: 'full', direction: 'sent' }, stages);
    await wait(stages, 10_000);
    stages.heard({ bytes: 1, upstreamMs: 4_000, downstreamMs: 1_000, limitMs: 0 });
    const before = await lines();
    expect(before).toContain('x_stage_wait_seconds_total{kind="full",stage="wire"} 4');
    stages.heard({ bytes: 1, upstreamMs: 4_000, downstreamMs: 9_000, limitMs: 0 });
    end('ok');
    expect(await lines()).toContain('x_stage_wait_seconds_total{kind="full",stage="wire"} 4');
  });
});
