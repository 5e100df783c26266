import type { CephPort } from '@rbdferry/core/ceph/port.js';
import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { ErrorCode } from '@rbdferry/core/errors/registry.js';
import { createLogger } from '@rbdferry/core/log/logger.js';
import { formatPoolSpec, type PoolSpec } from '@rbdferry/core/model/image-spec.js';
import { describe, expect, it, vi } from 'vitest';
import { AgentMetrics } from './agent-metrics.js';
import type { Job } from './jobs/job.js';
import { sourceConcern } from './source-images.js';

/** Pools with the names of their images, or with what listing them fails with. */
type Pools = Record<string, readonly string[] | ErrorCode>;

const backedUp = (image: string, endedAtMs: number): Job =>
  ({
    id: image,
    request: { kind: 'backup', image, mode: 'auto', receiver: 'dr', store: 'rbd2' },
    state: { kind: 'committed', startedAtMs: 0, endedAtMs, streamBytes: 0, warnings: [] },
    createdAtMs: endedAtMs,
    image,
    backupId: null,
    backupKind: 'full',
  }) as unknown as Job;

const watching = (pools: Pools, images: readonly string[]) => {
  const metrics = new AgentMetrics();
  for (const image of images) metrics.jobEnded(backedUp(image, 1_000));
  const log = createLogger('test', 'silent');
  const info = vi.spyOn(log, 'info');
  const list = vi.fn((where: PoolSpec) => {
    const found = pools[formatPoolSpec(where)] ?? 'POOL_NOT_FOUND';
    if (typeof found === 'string') return Promise.reject(new FerryError(found, `cannot list ${formatPoolSpec(where)}`));
    return Promise.resolve([...found]);
  });
  const concern = sourceConcern({ ceph: { list } as unknown as CephPort, metrics, log, now: () => 5_000 });
  const look = () => concern.check(new AbortController().signal);
  const shown = async () => {
    const text = await metrics.registry.getSingleMetricAsString('rbdferry_agent_last_success_timestamp_seconds');
    return [...text.matchAll(/image="([^"]*)"/g)].map(([, image]) => image).toSorted();
  };
  return { metrics, look, shown, info, list };
};

describe('images of the source', () => {
  it('that are gone have no series, until they are there again', async () => {
    const pools: Pools = { rbd: ['vm1'], 'rbd/ns': ['vm3'] };
    const { look, shown, info, list } = watching(pools, ['rbd/vm1', 'rbd/vm2', 'rbd/ns/vm3', 'old/vm4']);
    expect(await shown()).toHaveLength(4);
    await look();
    expect(await shown()).toEqual(['rbd/ns/vm3', 'rbd/vm1']);
    expect(info.mock.calls.map(([fields]) => fields)).toEqual([{ image: 'rbd/vm2' }, { image: 'old/vm4' }]);
    expect(list).toHaveBeenCalledTimes(3);
    await look();
    expect(info).toHaveBeenCalledTimes(2);
    pools['rbd'] = ['vm1', 'vm2'];
    await look();
    expect(await shown()).toEqual(['rbd/ns/vm3', 'rbd/vm1', 'rbd/vm2']);
  });

  it('keep theirs while the cluster fails', async () => {
    const { look, shown } = watching({ rbd: 'CEPH_TIMEOUT' }, ['rbd/vm1']);
    await expect(look()).rejects.toMatchObject({ code: 'CEPH_TIMEOUT' });
    expect(await shown()).toEqual(['rbd/vm1']);
  });

  it('keep theirs in a pool that the agent may not see, which is told; the others are looked at', async () => {
    const pools: Pools = { secret: 'CEPH_PERMISSION', hidden: 'CEPH_PERMISSION', rbd: [] };
    const { look, shown } = watching(pools, ['secret/vm1', 'hidden/vm2', 'rbd/vm3']);
    await expect(look()).rejects.toMatchObject({
      code: 'CEPH_PERMISSION',
      message: 'cannot list secret; cannot list hidden',
    });
    expect(await shown()).toEqual(['hidden/vm2', 'secret/vm1']);
  });

  it('that were backed up while they were looked for are there', async () => {
    const { metrics, look, shown } = watching({ rbd: [] }, []);
    metrics.jobEnded(backedUp('rbd/new', 6_000));
    await look();
    expect(await shown()).toEqual(['rbd/new']);
  });

  it('that are gone are forgotten with their jobs, and a new backup is not undone by an old one', async () => {
    const pools: Pools = { rbd: [] };
    const { metrics, look, shown } = watching(pools, ['rbd/vm1', 'rbd/vm2']);
    await look();
    metrics.jobEnded(backedUp('rbd/vm1', 6_000));
    metrics.forget(2_000);
    pools['rbd'] = ['vm1', 'vm2'];
    await look();
    expect(await shown()).toEqual(['rbd/vm1']);
    expect(metrics.images).toEqual(['rbd/vm1']);
  });
});
