import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { randomBytes } from '../ceph/image-content.js';
import { Control, doneBytesOf, hasEnded, phaseOf, totalBytesOf } from '../harness/control.js';
import { startHouse, type House } from './house.js';
import { receiversWith, secondAgent, secondReceiver, type SecondAgent } from './second.js';
import { imageOf, snapOf } from './site.js';

/** Transfers that are held back on purpose: they are no stalls, and one sees how far they are. They wait for real, and so all at once. */

const MiB = 1024 * 1024;
let house: House;

beforeAll(async () => {
  house = await startHouse();
});

afterAll(() => house?.stop());

const sourceAt = (image: string, id: string) => house.source.sha256(`${image}@${snapOf(id)}`);

describe('a limit', () => {
  /** What both daemons take for a stall is shorter than what the transfers below take. */
  const stall = { stall_timeout: '2s' };
  const receiver = () => secondReceiver(house, 'impatient', stall);
  let agent: SecondAgent;
  let impatient: ReturnType<typeof receiver>;

  beforeAll(async () => {
    impatient = receiver();
    await impatient.start();
    const port = Number(impatient.record('ready')?.['port']);
    agent = secondAgent(house, 'limited', {
      ...stall,
      ...receiversWith(house, {
        address: `localhost:${port}`,
        limit: { rate: '1GiB/s', times: [{ from: '00:00', to: '12:00', rate: 'unlimited' }] },
      }),
    });
    await agent.daemon.start();
  });

  afterAll(async () => {
    await agent?.daemon.stop();
    await impatient?.stop();
  });

  it.concurrent(
    'is no stall, though bytes come one by one: backup, restore, and what is told of the jobs',
    async () => {
      await house.source.create('rbd/limited');
      house.source.write('rbd/limited', 4096, randomBytes('limited', 8_000));
      const args = ['--limit', '2KiB/s'];
      const job = JSON.parse(await agent.ok('backup', 'rbd/limited', '--json', ...args)) as {
        id: string;
        backupId: string;
      };
      expect(house.backup.sha256(job.backupId)).toBe(sourceAt('rbd/limited', job.backupId));
      await agent.ok('restore', job.backupId, '--to', 'rbd/limited-back', ...args);
      expect(house.source.sha256('rbd/limited-back')).toBe(house.backup.sha256(job.backupId));
      await agent.daemon.restart();
      expect(JSON.parse(await agent.ok('job', 'show', job.id, '--json'))).toMatchObject({ limitBytesPerSecond: 2048 });
    },
  );
});

describe('progress', () => {
  const image = 'rbd/progress';
  /** Both kinds of jobs last longer than it takes to find the total out. */
  const slowly = 6000n;

  /** What is told when all data has come through. */
  const atTheEnd = async (jobId: string, phases: readonly string[]): Promise<{ done: number; total: number }> => {
    const watch = new Control(house.socket);
    const job = await watch.until(jobId, (each) => hasEnded(each) || phases.includes(phaseOf(each)));
    watch.close();
    return { done: Number(doneBytesOf(job)), total: Number(totalBytesOf(job)) };
  };

  it.concurrent('counts the zeros that are not sent, in a backup and in a restore', async () => {
    const objects = { objectSizeBytes: 4 * MiB, stripeUnitBytes: 4 * MiB };
    await house.source.create(image, { sizeBytes: BigInt(8 * MiB), ...objects });
    // The whole first object but its last MiB; of it 20 KB are no zeros.
    const gap = Buffer.alloc(3 * MiB - 20_000);
    house.source.write(image, 0, Buffer.concat([randomBytes('begin', 10_000), gap, randomBytes('end', 10_000)]));
    const start = new Control(house.socket);
    const backup = await start.startBackup(image, slowly);
    const sent = await atTheEnd(backup.id, ['commit', 'clean-up']);
    expect(sent.done).toBeGreaterThan(3 * MiB);
    expect(sent.total).toBeGreaterThanOrEqual(sent.done);
    expect(sent.total).toBeLessThan(sent.done + 200);

    const { backupId } = await start.until(backup.id, hasEnded);
    const [chain] = JSON.parse(await house.ok('list', image, '--json')) as { backups: { streamBytes: number }[] }[];
    expect(chain?.backups[0]?.streamBytes).toBeLessThan(30_000);
    keepZeros(backupId);
    const restore = await start.startRestore(backupId, `${image}-back`, slowly);
    const received = await atTheEnd(restore.id, ['verify', 'swap']);
    expect(received.done).toBe(3 * MiB);
    expect(received.total).toBeGreaterThanOrEqual(received.done);
    expect(received.total).toBeLessThan(received.done + 200);
    await start.until(restore.id, hasEnded);
    start.close();
    expect(house.source.sha256(`${image}-back`)).toBe(sourceAt(image, backupId));
  });

  /** Ceph gives an object from its beginning to the end of what is in it; the one in memory leaves out what it never got. */
  const keepZeros = (backupId: string): void => {
    const [name = '', snap = ''] = backupId.split('@');
    const { content } = house.backup.cluster.snapshot(imageOf(name), snap, 'write').snapshot;
    content.write(0, content.read(0, 3 * MiB));
  };
});
