import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { backupOf, chainOf, committed, failed, jobOf, queued, running, stages } from '../../test/fake-agent.js';
import { chainView } from '../view/chain.js';
import { jobView } from '../view/job.js';
import * as output from '../output.js';
import { printJsonArray, toJson } from './json.js';

vi.mock('../output.js', { spy: true });

const parsed = (value: unknown): unknown => JSON.parse(toJson(value));

describe('a job as JSON', () => {
  const facts = {
    id: 'k3v9x2m7qa',
    kind: 'backup',
    image: 'rbd/vm1',
    receiver: 'dr',
    store: 'rbd2',
    backupId: 'rbd2/vm1.2026-11-24.10:40:39.458883.bkp.image@2026-11-24.22:40:43.707889.snap',
    backupKind: 'full',
    createdAt: '2026-11-24T22:40:43.000Z',
    startedAt: '2026-11-24T22:40:43.500Z',
    endedAt: null,
    limitBytesPerSecond: null,
    attempt: 1,
    parentId: null,
    children: null,
  };
  const ended = { ...facts, endedAt: '2026-11-24T22:41:45.500Z' };

  it('queued', () => {
    expect(parsed(jobView(jobOf(queued)))).toEqual({
      ...facts,
      backupId: null,
      backupKind: null,
      startedAt: null,
      state: 'queued',
      lastError: null,
      waitsFor: null,
    });
  });

  it('running', () => {
    expect(parsed(jobView(jobOf(running(5n))))).toEqual({
      ...facts,
      state: 'running',
      phase: 'transfer',
      doneBytes: 5,
      totalBytes: null,
      rateBytesPerSecond: 104_857_600,
      etaSeconds: null,
      cancelling: false,
      waitsFor: null,
      stages: null,
    });
  });

  it('running, with the stages of its transfer', () => {
    expect(parsed(jobView(jobOf(running(5n, undefined, { ...stages, wire: undefined }))))).toMatchObject({
      stages: {
        source: { waitedMs: 0, bytesPerSecond: null },
        wire: null,
        target: { waitedMs: 9_000, bytesPerSecond: 34_603_008 },
        limit: null,
        bottleneck: 'target',
      },
    });
  });

  it('committed', () => {
    expect(parsed(jobView(jobOf(committed('mind the gap'))))).toEqual({
      ...ended,
      state: 'committed',
      streamBytes: 1_073_741_824,
      warnings: ['mind the gap'],
      stages: null,
    });
  });

  it('failed', () => {
    expect(parsed(jobView(jobOf(failed('NO_CHAIN', 'no chain', 'make one'))))).toEqual({
      ...ended,
      state: 'failed',
      error: { code: 'NO_CHAIN', message: 'no chain', hint: 'make one' },
      warnings: [],
    });
  });

  it('is refused in a state this release does not know', () => {
    expect(() => jobView(jobOf(undefined))).toThrow(/state this release does not know/);
  });
});

describe('a chain as JSON', () => {
  it('of ours', () => {
    expect(parsed(chainView(chainOf(backupOf())))).toEqual({
      store: 'rbd2',
      name: 'vm1.2026-11-24.10:40:39.458883.bkp.image',
      image: 'rbd/vm1',
      images: ['rbd/vm1'],
      source: { fsid: 'f5', image: 'rbd/vm1', imageId: '10ab' },
      active: true,
      legacy: false,
      partial: false,
      backups: [
        {
          id: 'rbd2/vm1.2026-11-24.10:40:39.458883.bkp.image@2026-11-24.22:40:43.707889.snap',
          shortId: '89363955',
          kind: 'full',
          snapshotAt: '2026-11-24T22:40:43.707Z',
          committedAt: '2026-11-24T22:41:43.000Z',
          sizeBytes: 1_073_741_824,
          streamBytes: 314_572_800,
          dataBytes: 314_560_000,
          streamGmac: 'ab'.repeat(16),
          baseId: null,
          client: 'agent1',
          source: { fsid: 'f5', image: 'rbd/vm1', imageId: '10ab' },
          presentOnSource: true,
          hold: null,
        },
      ],
      sourceUnknown: null,
      error: null,
    });
  });

  it('of the older tool: what it did not write down is null', () => {
    const backup = backupOf({
      source: undefined,
      streamBytes: 0n,
      dataBytes: 0n,
      streamGmac: Buffer.alloc(0),
      committedAtMs: 0n,
      client: '',
    });
    const message = chainOf(backup);
    const view = chainView({
      chain: message.chain && { ...message.chain, legacy: true },
      presentOnSource: [],
      sourceUnknown: '',
      unreadable: undefined,
    });
    expect(view).toMatchObject({ image: 'vm1', source: null, legacy: true });
    expect(view.backups[0]).toMatchObject({
      committedAt: null,
      streamBytes: null,
      dataBytes: null,
      streamGmac: null,
      client: null,
      presentOnSource: false,
    });
  });
});

it('a size beyond what a JSON number holds is a text', () => {
  expect(toJson({ small: 2n ** 53n - 1n, large: 2n ** 53n + 1n })).toBe(
    '{"small":9007199254740991,"large":"9007199254740993"}',
  );
});

describe('printJsonArray', () => {
  let stdout = '';
  beforeEach(() => {
    stdout = '';
    vi.spyOn(output, 'print').mockImplementation((text) => {
      stdout += text;
      return Promise.resolve();
    });
  });
  afterEach(() => {
    vi.restoreAllMocks();
  });

  it('is JSON for any number of elements, one a line', async () => {
    for (const values of [[], [1], [{ a: 1 }, { a: 2n }]]) {
      stdout = '';
      await printJsonArray(values);
      expect(JSON.parse(stdout)).toEqual(JSON.parse(toJson(values)));
      expect(stdout.split('\n').length).toBe(Math.max(1, values.length) + 1);
    }
  });

  it('stays open when it breaks off, and empty when it never began', async () => {
    const breaking = async function* (count: number) {
      for (let index = 0; index < count; index += 1) yield index;
      await Promise.reject(new Error('broken'));
    };
    await expect(printJsonArray(breaking(0))).rejects.toThrow('broken');
    expect(stdout).toBe('');
    await expect(printJsonArray(breaking(2))).rejects.toThrow('broken');
    expect(stdout).toBe('[0,\n1');
  });
});
