import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { randomBytes } from '../ceph/image-content.js';
import { intercept } from '../fake-ceph/intercept.js';
import { startHouse, type House } from './house.js';
import { snapOf } from './site.js';

/** A job that fails with what may go by itself waits, and is tried again. */

const image = 'rbd/vm1';
let house: House;

beforeAll(async () => {
  house = await startHouse();
  await house.source.create(image);
  house.source.write(image, 0, randomBytes('attempts', 100_000));
});

afterAll(() => house?.stop());

/** What waits for its time is looked at whenever a job is queued. */
const queueAnother = () => house.cli('backup', 'rbd/nobody');

it('a receiver that is away for a while fails no job that has attempts left', async () => {
  await house.receiver.stop();
  const id = await house.ok('backup', image, '--attempts', '3', '--async');
  await expect.poll(() => house.ok('job', 'show', id)).toContain('queued: waits for the receiver to come back');
  const shown = await house.ok('job', 'show', id);
  expect(shown).toMatch(/^attempt +2$/m);
  expect(shown).toMatch(/^last error +RECEIVER_UNREACHABLE: /m);
  expect(JSON.parse(await house.ok('job', 'show', id, '--json'))).toMatchObject({
    state: 'queued',
    attempt: 2,
    lastError: { code: 'RECEIVER_UNREACHABLE' },
  });

  // The agent's end is no end of it.
  await house.agent.restart();
  expect(JSON.parse(await house.ok('job', 'show', id, '--json'))).toMatchObject({ state: 'queued', attempt: 2 });

  await house.receiver.start();
  house.clock.aheadMs += 30_000;
  await queueAnother();
  const backup = await house.ok('job', 'wait', id);
  expect(house.backup.sha256(backup)).toBe(house.source.sha256(`${image}@${snapOf(backup)}`));
  expect(JSON.parse(await house.ok('job', 'show', id, '--json'))).toMatchObject({ state: 'committed', attempt: 2 });
  expect(await house.source.snapNames(image)).toEqual([snapOf(backup)]);
});

it('what nobody can wait for fails at once, whatever attempts there are', async () => {
  expect(await house.cli('backup', 'rbd/nobody', '--attempts', '5')).toMatchObject({ exitCode: 20, stdout: '' });
  expect(await house.cli('backup', image, '--attempts', '0')).toMatchObject({ exitCode: 2 });
});

it('a restore whose last answer was lost is done, and nothing is restored twice', async () => {
  const backup = await house.ok('backup', image);
  house.agent.between = (ceph) =>
    intercept(ceph, {
      async around({ name }, run) {
        const done = await run();
        if (name === 'rename') throw new FerryError('CEPH_TIMEOUT', 'rbd rename gave no answer');
        return done;
      },
    });
  await house.agent.restart();
  const end = await house.cli('restore', backup, '--replace', '--attempts', '2');
  expect(end).toMatchObject({ exitCode: 0, stdout: image });
  expect(end.stderr).toContain('rbd rename gave no answer');
  expect(house.source.sha256(image)).toBe(house.backup.sha256(backup));
  expect(await house.source.trash('rbd')).toHaveLength(1);
});
