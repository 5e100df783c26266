import type { WirePath } from '@rbdferry/core/rpc/grpc-hot-path.js';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { randomBytes } from '../ceph/image-content.js';
import { startHouse, type House } from './house.js';
import { snapOf } from './site.js';

const MiB = 1024 * 1024;
/** What holds whichever way messages go. A process that has once left grpc-js's own cannot go back to it: hence a file for each. */
export const wireSuite = (wire: WirePath): void => {
  let house: House;

  beforeAll(async () => {
    house = await startHouse({ agent: { wire }, receiver: { wire } });
  });

  afterAll(() => house?.stop());

  it('both daemons say which way they go', () => {
    expect(house.agent.record('ready')).toMatchObject({ wire });
    expect(house.receiver.record('ready')).toMatchObject({ wire });
  });

  it('backups and restores have the same content', async () => {
    const image = 'rbd/vm1';
    await house.source.create(image, { sizeBytes: BigInt(16 * MiB) });
    house.source.write(image, 12_345, randomBytes('plain', 9 * MiB));
    const full = await house.ok('backup', image);
    house.source.write(image, MiB, randomBytes('again', 3 * MiB));
    const next = await house.ok('backup', image);
    for (const id of [full, next]) {
      await house.ok('restore', id, '--to', 'rbd/check');
      expect(house.source.sha256('rbd/check')).toBe(house.backup.sha256(id));
      await house.source.remove('rbd/check');
    }
    expect(house.backup.sha256(next)).toBe(house.source.sha256(`${image}@${snapOf(next)}`));
  });
};
