import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { randomBytes } from '../ceph/image-content.js';
import { startHouse, type House } from './house.js';
import { chainOf, imageOf, snapOf } from './site.js';

/** Backups of the older tool: an image and snapshots with names of their own, and nothing else. How it made them: test/e2e/rbd-backup.test.ts. */

const MiB = 1024 * 1024;
const KiB = 1024;
let house: House;

beforeAll(async () => {
  house = await startHouse();
  vi.stubEnv('RBDFERRY_RECEIVER', 'dr');
});

afterAll(async () => {
  vi.unstubAllEnvs();
  await house?.stop();
});

const old = (line: string) => house.oldTool(...line.split(' '));
const good = async (line: string): Promise<string> => {
  const { exitCode, stdout, stderr } = await old(line);
  if (exitCode !== 0) throw new Error(`rbd_backup ${line} exited with ${exitCode}: ${stderr}`);
  return stdout;
};
const megabytes = (bytes: number): string => String(Math.floor(bytes / MiB));

describe('backups that the older tool made', () => {
  const image = 'rbd/legacy';
  const stamps = ['2015-07-07.10:40:39.458883', '2015-07-07.10:40:43.707889', '2015-07-08.03:00:00.000001'] as const;
  const target = `rbd2/legacy.${stamps[0]}.bkp.image`;
  const ids = stamps.map((stamp) => `${target}@${stamp}.snap`);
  const hashes: string[] = [];
  const added: number[] = [];

  beforeAll(async () => {
    const sizeBytes = BigInt(8 * MiB);
    await house.source.create(image, { sizeBytes });
    await house.backup.create(target, { sizeBytes });
    for (const [index, stamp] of stamps.entries()) {
      const bytes = randomBytes(`legacy ${index}`, 1536 * KiB + index * 4096);
      for (const [site, spec] of [
        [house.source, image],
        [house.backup, target],
      ] as const) {
        site.write(spec, index * 1024 * KiB, bytes);
        site.addSnapshot(`${spec}@${stamp}.snap`);
      }
      hashes.push(house.source.sha256(`${image}@${stamp}.snap`));
      added.push(await house.backup.addedBytes(ids[index] ?? '', ids[index - 1]));
    }
  });

  it('are listed and dumped', async () => {
    const [chain] = JSON.parse(await house.ok('dump', image, '--json')) as Record<string, unknown>[];
    expect(chain).toMatchObject({
      store: 'rbd2',
      name: target.slice('rbd2/'.length),
      image: 'legacy',
      legacy: true,
      active: true,
      source: null,
      usedBytes: added.reduce((sum, bytes) => sum + bytes),
      backups: ids.map((id, index) => ({
        id,
        kind: index === 0 ? 'full' : 'incremental',
        sizeBytes: 8 * MiB,
        addedBytes: added[index],
        client: null,
        presentOnSource: false,
      })),
    });
    const { stderr } = await old('-p rbd -i legacy -r rbd2 -o dump');
    expect(stderr).toContain(`=== ${target.slice('rbd2/'.length)} === active\n`);
    expect(stderr).toContain(`      1 ${stamps[0]}.snap 8192 kB \n`);
  });

  it('are measured', async () => {
    const total = added.reduce((sum, bytes) => sum + bytes);
    expect(await good('-p rbd -i legacy -r rbd2 -o du')).toBe(megabytes(total));
    for (const [index, id] of ids.entries()) {
      expect(await good(`-o du_snap -s ${id}`)).toBe(megabytes(added[index] ?? 0));
    }
    expect(JSON.parse(await house.ok('du', image, '--json'))).toMatchObject({
      usedBytes: total,
      backups: 3,
      chains: [{ legacy: true, client: null }],
    });
    const report = JSON.parse(
      await house.ok('report', '--from', '2015-07-07', '--until', '2015-07-09', '--json'),
    ) as unknown;
    expect(report).toEqual([
      expect.objectContaining({ client: null, pool: null, image: 'legacy', fullBackups: 1, addedBytes: total }),
    ]);
    // Nothing of ours is written on them.
    expect([...(await house.backup.ceph.metadata(imageOf(target)))]).toEqual([]);
  });

  it('are restored', async () => {
    for (const [index, id] of ids.entries()) {
      expect(await good(`-p rbd -i legacy-back-${index} -r rbd2 -o restore -s ${id}`)).toBe('');
      expect(house.source.sha256(`rbd/legacy-back-${index}`)).toBe(hashes[index]);
    }
  });

  it('are never built on', async () => {
    const refused = await old('-p rbd -i legacy -r rbd2 -o backup -m incr');
    expect(refused).toMatchObject({ exitCode: 30, stdout: '' });
    expect(refused.stderr).toContain('NO_CHAIN');
    const full = await good('-p rbd -i legacy -r rbd2 -o backup -m full');
    expect(chainOf(full)).not.toBe(target);
    house.source.write(image, 0, randomBytes('ours', 100_000));
    const incr = await good('-p rbd -i legacy -r rbd2 -o backup -m incr');
    expect(chainOf(incr)).toBe(chainOf(full));
    expect(await house.backup.snapNames(target)).toEqual(stamps.map((stamp) => `${stamp}.snap`));
    // The old tool's own snapshots on the source are somebody else's for us.
    expect(await house.source.snapNames(image)).toEqual([...stamps.map((stamp) => `${stamp}.snap`), snapOf(incr)]);
  });

  it('are deleted one by one, the others stay what they are', async () => {
    expect(await good(`-o delete -s ${ids[1]}`)).toBe('');
    for (const index of [0, 2]) expect(house.backup.sha256(ids[index] ?? '')).toBe(hashes[index]);
    // The third is now measured against the first: it may have rewritten what the second wrote.
    const third = await house.backup.addedBytes(ids[2] ?? '', ids[0]);
    expect(third).toBeGreaterThan(added[2] ?? 0);
    expect(await good(`-o du_snap -s ${ids[2]}`)).toBe(megabytes(third));
    await good(`-o delete -s ${ids[0]}`);
    expect(house.backup.sha256(ids[2] ?? '')).toBe(hashes[2]);
    await good(`-o delete -s ${ids[2]}`);
    expect(await house.backup.imageNames('rbd2')).not.toContain(target.slice('rbd2/'.length));
  });
});
