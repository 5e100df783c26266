import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { randomBytes } from '../ceph/image-content.js';
import { startHouse, type House } from './house.js';
import { receiversWith, secondAgent, type SecondAgent } from './second.js';
import { imageOf, snapOf } from './site.js';

const MiB = 1024 * 1024;
let house: House;

beforeAll(async () => {
  house = await startHouse();
});

afterAll(() => house?.stop());

describe.each(['on', 'auto'])('compression (%s)', (mode) => {
  const image = `rbd/text-${mode}`;
  let agent: SecondAgent;

  beforeAll(async () => {
    agent = secondAgent(house, `zstd-${mode}`, receiversWith(house, { compression: mode }));
    await agent.daemon.start();
  });

  afterAll(() => agent?.daemon.stop());

  const sourceAt = (id: string) => house.source.sha256(`${image}@${snapOf(id)}`);

  /** Bytes of the newest job: of its stream, and over the wire. */
  const bytesOf = (): { stream: number; wire: number } => {
    const job = agent.daemon.record('job committed');
    return { stream: Number(job?.['streamBytes']), wire: Number(job?.['wireBytes']) };
  };
  const text = (seed: string, bytes: number): Buffer =>
    Buffer.from(
      randomBytes(seed, bytes / 2)
        .toString('hex')
        .replaceAll(/[0-7]/g, ' '),
    );

  it('gives the same backups and images, with fewer bytes on the wire', async () => {
    const objects = { objectSizeBytes: 4 * MiB, stripeUnitBytes: 4 * MiB };
    await house.source.create(image, { sizeBytes: BigInt(8 * MiB), ...objects });
    house.source.write(image, 1000, text('full', 3 * MiB));
    house.source.write(image, 5 * MiB, randomBytes('random', 0.75 * MiB));
    const full = await agent.ok('backup', image);
    const sent = bytesOf();
    expect(sent.stream).toBeGreaterThan(3.75 * MiB);
    expect(sent.wire).toBeLessThan(2.5 * MiB);
    expect(house.backup.sha256(full)).toBe(sourceAt(full));
    house.source.write(image, 1.25 * MiB + 77, text('increment', 0.5 * MiB));
    house.source.cluster.discard(imageOf(image), 5.5 * MiB, 0.25 * MiB);
    const increment = await agent.ok('backup', image, '--mode', 'incr', '--limit', '30MiB/s');
    expect(house.backup.sha256(increment)).toBe(sourceAt(increment));
    for (const [id, args] of [
      [full, []],
      [increment, ['--limit', '30MiB/s']],
    ] as const) {
      await agent.ok('restore', id, '--to', `${image}-back`, ...args);
      const back = bytesOf();
      expect(back.stream).toBeGreaterThan(3.5 * MiB);
      expect(back.wire).toBeLessThan(2.5 * MiB);
      expect(house.source.sha256(`${image}-back`)).toBe(house.backup.sha256(id));
      await house.source.remove(`${image}-back`);
    }
  });
});
