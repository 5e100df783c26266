import { status } from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { MiB } from '../blackbox/backup-streams.js';
import { ControlClient, type Job } from '../blackbox/control-client.js';
import {
  ferryRefusal,
  ghostBackup,
  honest,
  Refusal,
  startForeignReceiver,
  type ForeignReceiver,
} from '../blackbox/foreign-receiver.js';
import { randomBytes } from '../ceph/image-content.js';
import { expectError } from '../harness/expect-error.js';
import { startHouse, type House } from './house.js';

/** The agent, sent with a backup to a receiver that is not ours. */

let house: House;
let agent: ControlClient;
let receiver: ForeignReceiver;

beforeAll(async () => {
  house = await startHouse();
  receiver = await startForeignReceiver(`${house.dir}/pki`);
  const receivers = house.agent.config['receivers'] as { dr: object };
  house.agent.config['receivers'] = {
    dr: { ...receivers.dr, address: `localhost:${receiver.port}`, compression: 'on' },
  };
  await house.agent.restart();
  agent = new ControlClient(house.socket);
  await house.source.create('rbd/vm1', { sizeBytes: BigInt(4 * MiB) });
  house.source.write('rbd/vm1', 0, randomBytes('more', MiB));
});

afterEach(async () => {
  receiver.behaviour = honest();
  // Whatever it was, nothing of it is left on the source.
  expect(await house.source.imageNames('rbd')).toEqual(['vm1']);
  expect(await house.source.snapNames('rbd/vm1')).toEqual([]);
  expect(await house.source.trash('rbd')).toEqual([]);
  expect(house.source.cluster.allWatchers()).toEqual([]);
});

afterAll(async () => {
  agent?.close();
  await house?.stop();
  receiver?.stop();
});

const backUp = async () => agent.ended(await agent.start('startBackup', { image: 'rbd/vm1' }));

const expectFailed = (job: Job, code: string, words?: RegExp): void => {
  expect([job.state, job.failed?.error.code], job.failed?.error.message).toEqual(['failed', code]);
  expect(job.failed?.error.hint).not.toBe('');
  if (words !== undefined) expect(job.failed?.error.message).toMatch(words);
};

describe('in a backup', () => {
  it('may refuse to open with any error; the snapshot is removed', async () => {
    receiver.behaviour.backup = () => null;
    receiver.behaviour.openPush = () => {
      throw ferryRefusal('CEPH_NO_SPACE', status.RESOURCE_EXHAUSTED);
    };
    expectFailed(await backUp(), 'CEPH_NO_SPACE', /CEPH_NO_SPACE of the fake/);
    receiver.behaviour.openPush = () => {
      throw ferryRefusal('QUOTA_OF_THE_FUTURE', status.RESOURCE_EXHAUSTED);
    };
    expectFailed(await backUp(), 'INTERNAL', /QUOTA_OF_THE_FUTURE/);
    expectError(await house.cli('backup', 'rbd/vm1'), 'INTERNAL', 1, 'QUOTA_OF_THE_FUTURE');
    receiver.behaviour.openPush = () => {
      throw new Refusal(status.PERMISSION_DENIED, 'by a gateway');
    };
    expectFailed(await backUp(), 'ACCESS_DENIED', /by a gateway/);
  });

  it('may answer in the middle of the stream with an error; the snapshot is removed', async () => {
    receiver.behaviour.backup = () => null;
    receiver.behaviour.answersPush = (received) => received.length === 2;
    receiver.behaviour.push = () => {
      throw ferryRefusal('CEPH_NO_SPACE', status.RESOURCE_EXHAUSTED);
    };
    expectFailed(await backUp(), 'CEPH_NO_SPACE', /CEPH_NO_SPACE of the fake/);
  });

  it('is not believed when it answers before the commit', async () => {
    receiver.behaviour.backup = () => null;
    receiver.behaviour.answersPush = (received) => received.length === 2;
    expect((await backUp()).state).toBe('failed');
  });

  it('is not believed when what it committed is something else', async () => {
    // It tells the same lie when it is asked again.
    receiver.behaviour.backup = () => ghostBackup();
    expectFailed(await backUp(), 'DIGEST_MISMATCH');
    expectError(await house.cli('backup', 'rbd/vm1'), 'DIGEST_MISMATCH', 52, 'something else than was sent');
  });
});
