import type { CephPort } from '@rbdferry/core/ceph/port.js';
import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { randomBytes } from '../ceph/image-content.js';
import { startHouse, type House } from './house.js';
import { chainOf, imageOf, snapOf } from './site.js';

/** What cannot be read, or written down, is told; everything else is answered all the same. */

let house: House;
let open: string;
let secret: string;
/** The image of a chain that the receiver may not open. */
let locked: string | null = null;

const locking = (ceph: CephPort): CephPort =>
  new Proxy(ceph, {
    get: (target, name, self) => {
      const step: unknown = Reflect.get(target, name, self);
      if (typeof step !== 'function') return step;
      return (...args: unknown[]): unknown => {
        const [spec] = args as [{ image?: string } | undefined];
        if (locked !== null && spec?.image === locked) {
          throw new FerryError('CEPH_PERMISSION', `cannot open image "rbd2/${locked}": its parent is elsewhere`);
        }
        return Reflect.apply(step, target, args);
      };
    },
  });

beforeAll(async () => {
  house = await startHouse({ sourcePools: ['rbd', 'secret'] });
  house.receiver.between = locking;
  await house.receiver.restart();
  for (const image of ['rbd/vm', 'secret/vm']) {
    await house.source.create(image);
    house.source.write(image, 0, randomBytes(image, 100_000));
  }
  open = await house.ok('backup', 'rbd/vm');
  secret = await house.ok('backup', 'secret/vm');
});

afterAll(() => house?.stop());

const idsListed = async (): Promise<{ ids: string[]; stderr: string }> => {
  const { exitCode, stdout, stderr } = await house.cli('list', '--json');
  expect(exitCode).toBe(0);
  const chains = JSON.parse(stdout) as { backups?: { id: string }[] }[];
  return { ids: chains.flatMap(({ backups = [] }) => backups.map(({ id }) => id)), stderr };
};

describe('a cluster that does not answer', () => {
  afterEach(() => {
    house.source.cluster.trouble.unreachable = false;
  });

  it('leaves the list whole, and what is on the source unknown', async () => {
    house.source.cluster.trouble.unreachable = true;
    expect((await idsListed()).ids.toSorted()).toEqual([open, secret].toSorted());
    const { exitCode, stdout, stderr } = await house.cli('list');
    expect(exitCode).toBe(0);
    expect(stdout).toContain(open);
    expect(stderr).toMatch(/^not known which snapshots are still on the source: .*couldn't connect/);
  });
});

describe('a chain that the receiver may not open', () => {
  afterEach(async () => {
    locked = null;
    await house.receiver.restart();
  });

  it('is told of by list, report, du and delete, which do all the rest', async () => {
    locked = chainOf(secret).slice('rbd2/'.length);
    // What it has in memory it need not open.
    await house.receiver.restart();
    const { ids, stderr } = await idsListed();
    expect(ids).toEqual([open]);
    expect(stderr).toContain(locked);
    for (const args of [['report'], ['du'], ['delete', '--all-images', '--keep-last', '1', '--dry-run']]) {
      const told = await house.cli(...args);
      expect({ args, ...told }).toMatchObject({ exitCode: 0, stderr: expect.stringContaining(locked) as string });
      expect(told.stdout).not.toContain('secret');
    }
  });
});

describe('a store that is full', () => {
  let before = '';

  beforeAll(() => {
    before = open;
  });

  it.each([['du'], ['report'], ['dump']])('%s tells its figures, though they cannot be written down', async (verb) => {
    house.source.write('rbd/vm', 200_000, randomBytes(verb, 50_000));
    const id = await house.ok('backup', 'rbd/vm');
    // As if nobody had measured it while there was room.
    await house.receiver.stop();
    await house.backup.ceph.removeMetadata(imageOf(chainOf(id)), `rbdferry.usage.${snapOf(id)}`);
    await house.receiver.start();
    house.backup.cluster.setFull('rbd2');
    try {
      const { exitCode, stdout } = await house.cli(verb, ...(verb === 'report' ? [] : ['rbd/vm']), '--json');
      expect(exitCode).toBe(0);
      const added = await house.backup.addedBytes(id, before);
      expect(stdout).toContain(verb === 'report' ? '"addedBytes":' : `"addedBytes":${added}`);
      before = id;
    } finally {
      house.backup.cluster.setFull('rbd2', false);
    }
  });
});

describe('a pool on the source that the agent may not see any more', () => {
  it('leaves the list whole', async () => {
    house.source.cluster.addPool('secret', { permitted: false });
    const { ids, stderr } = await idsListed();
    expect(ids).toEqual(expect.arrayContaining([open, secret]));
    expect(stderr).toContain('secret/vm');
    const { exitCode, stdout } = await house.cli('delete', '--all-images', '--keep-last', '1');
    expect({ exitCode, gone: stdout.split('\n') }).toMatchObject({
      exitCode: 0,
      gone: expect.arrayContaining([open]) as string[],
    });
    expect((await idsListed()).ids).toContain(secret);
  });
});
