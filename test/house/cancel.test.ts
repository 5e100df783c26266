import type { Job } from '@rbdferry/core/gen/rbdferry/v1/control.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { randomBytes } from '../ceph/image-content.js';
import { intercept } from '../fake-ceph/intercept.js';
import { Control, hasEnded, stateOf } from '../harness/control.js';
import type { DaemonInHouse } from './daemon-in-house.js';
import { startHouse, type House } from './house.js';
import { chainOf, snapOf } from './site.js';

/** A backup that is cancelled while any call of either cluster is under way is whole, or leaves nothing. */

const image = 'rbd/vm1';
let house: House;
let control: Control;
/** Backups that stand, oldest first. */
const known: string[] = [];
/** Told of each call while a backup runs. */
let onCall: ((daemon: DaemonInHouse, name: string) => void) | null = null;

beforeAll(async () => {
  house = await startHouse();
  for (const daemon of [house.agent, house.receiver]) {
    daemon.between = (ceph) =>
      intercept(ceph, {
        around: ({ name }, run) => {
          onCall?.(daemon, name);
          return run();
        },
      });
    await daemon.restart();
  }
  control = new Control(house.socket);
  await house.source.create(image);
});

afterAll(async () => {
  control?.close();
  await house?.stop();
});

const backUp = async (): Promise<Job> => {
  house.source.write(image, (known.length % 10) * 90_000, randomBytes(`round ${known.length}`, 60_000));
  return control.startBackup(image);
};

const expectClean = async (where: string): Promise<void> => {
  const chain = chainOf(known[0] ?? '');
  const snapshots = () => house.backup.snapNames(chain);
  await expect.poll(snapshots, { message: where, timeout: 10_000 }).toEqual(known.map(snapOf));
  const left = () => house.source.snapNames(image);
  await expect.poll(left, { message: where, timeout: 10_000 }).toEqual([snapOf(known.at(-1) ?? '')]);
  await expect.poll(() => house.backup.cluster.allWatchers(), { message: where, timeout: 10_000 }).toEqual([]);
  expect(await house.backup.imageNames('rbd2'), where).toEqual([chain.slice('rbd2/'.length)]);
};

describe.each([
  ['agent', () => house.agent],
  ['receiver', () => house.receiver],
] as const)('while the %s asks its cluster', (_, daemonOf) => {
  it('is cancelled and leaves nothing, or is committed', async () => {
    const calls: string[] = [];
    onCall = (daemon, name) => {
      if (daemon === daemonOf()) calls.push(name);
    };
    const whole = await control.until((await backUp()).id, hasEnded);
    onCall = null;
    known.push(whole.backupId);
    const ends = new Set<string>();
    for (let at = 1; at <= calls.length; at += 1) {
      const where = `${at}: ${calls[at - 1]}`;
      let job: Job | null = null;
      let cancelled: Promise<Job> | null = null;
      let count = 0;
      onCall = (daemon) => {
        if (daemon !== daemonOf() || (count += 1) !== at) return;
        // The first calls may come before the answer to the start.
        setImmediate(() => {
          if (job !== null) cancelled ??= control.cancel(job.id);
        });
      };
      job = await backUp();
      if (count >= at) cancelled ??= control.cancel(job.id);
      const ended = await control.until(job.id, hasEnded);
      onCall = null;
      await cancelled;
      ends.add(stateOf(ended));
      if (stateOf(ended) === 'committed') known.push(ended.backupId);
      else expect(stateOf(ended), where).toBe('cancelled');
      await expectClean(where);
    }
    expect(ends).toContain('cancelled');
    const last = await control.until((await backUp()).id, hasEnded);
    expect(house.backup.sha256(last.backupId)).toBe(house.source.sha256(`${image}@${snapOf(last.backupId)}`));
    known.push(last.backupId);
    for (const id of known) expect(await house.ok('list', image)).toContain(id);
  });
});
