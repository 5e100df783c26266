import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sha256OfExport } from '../ceph/cluster.js';
import { imageNames, snapNames } from '../harness/look.js';
import { startPair, type Pair } from '../harness/pair.js';
import {
  chainOf,
  cut,
  facts,
  fullContent,
  fullRecords,
  hash,
  header,
  MiB,
  nextTime,
  snapOf,
  some,
  streamOf,
} from './backup-streams.js';
import { badStreams } from './bad-streams.js';
import { expectFailure, failureOf } from './calls.js';
import * as diff from './diff-v1.js';
import { TransferClient, type Backup } from './transfer-client.js';
import { Caller, tlsOf } from './wire.js';

/**
 * What only Ceph and a real process can show of a receiver that somebody else's program drives: that `import-diff` and its locks are gone after a
 * bad stream, and what memory it costs. Everything else is in test/house, where each kind of bad stream and request is.
 */

const pool = 'rbd2';
let pair: Pair;
let agent1: TransferClient;

beforeAll(async () => {
  pair = await startPair({ name: 'blackbox' });
  const credentials = await tlsOf(pair.pki, 'agent1');
  agent1 = new TransferClient(new Caller('TransferService', `localhost:${pair.receiver.port}`, credentials), pool);
});

afterAll(async () => {
  agent1?.close();
  await pair?.stop();
});

const vmHwmKiB = async (): Promise<number> => {
  const text = await readFile(`/proc/${pair.receiver.pid}/status`, 'utf8');
  return Number(/VmHWM:\s*(\d+)/.exec(text)?.[1] ?? 0);
};

/** Who has the chain's image open, as Ceph itself says. */
const watchersOf = async ({ id }: Backup): Promise<unknown[]> => {
  const { stdout } = await pair.backup.rbd(['status', '--format', 'json', `${pool}/${chainOf(id)}`]);
  return (JSON.parse(stdout) as { watchers: unknown[] }).watchers;
};

describe('a push whose client goes away while it is opened', () => {
  it.each([0, 100, 250])('leaves nothing, and is answered for only when that is so (after %i ms)', async (ms) => {
    const time = nextTime();
    const chain = `abandoned.${time}.bkp.image`;
    const request = { store: pool, source: facts('abandoned'), snap: `${time}.snap`, baseId: '' };
    const abandoned = agent1.caller.abandon('openPush', request, sleep(ms));
    await sleep(ms + 10);
    await expectFailure(agent1.backup(`${pool}/${chain}@${time}.snap`), 'BACKUP_NOT_FOUND', 'NOT_FOUND');
    expect((await imageNames(pair.backup, pool)).filter((name) => name.startsWith(chain))).toEqual([]);
    await abandoned;
  });
});

describe('a stream', () => {
  let base: Backup;
  let peakKiB: number;

  beforeAll(async () => {
    base = (await agent1.pushFull('bad')).backup;
    peakKiB = await vmHwmKiB();
  });

  const enormous = badStreams.filter(({ name }) => /bomb$|name of four gigabytes$|absurd length$/.test(name));

  it.each(enormous.map((bad) => [bad.name, bad] as const))('that %s is refused', async (_, { messages, status }) => {
    const opened = await agent1.open({ image: 'bad', baseId: base.id });
    expect((await failureOf(agent1.send(messages(opened.snaps, opened)))).status).toBe(status);
  });

  it('never made the receiver set memory aside for what it announced', async () => {
    expect((await vmHwmKiB()) - peakKiB).toBeLessThan(150 * 1024);
  });

  it.each(['a full', 'an increment'])(
    'of %s that breaks off in its middle leaves nothing, and the next one stands',
    async (kind) => {
      const isFull = kind === 'a full';
      const image = isFull ? 'bad-full' : 'bad';
      const open = () => agent1.open({ image, baseId: isFull ? '' : base.id });
      const before = await imageNames(pair.backup, pool);
      const broken = await open();
      const half = streamOf(broken.snaps, diff.data(0, some)).subarray(0, 200_000);
      const sent = agent1.send([header(broken.transferId), ...cut(half)], 'cancel');
      expect((await failureOf(sent)).status).toBe('CANCELLED');
      await expectFailure(agent1.backup(broken.backupId), 'BACKUP_NOT_FOUND', 'NOT_FOUND');
      expect(await imageNames(pair.backup, pool)).toEqual(before);
      expect(await watchersOf(base)).toEqual([]);
      expect(await snapNames(pair.backup, `${pool}/${chainOf(base.id)}`)).toEqual([snapOf(base.id)]);
      const { backup } = await agent1.push(await open(), ...(isFull ? fullRecords() : [diff.data(MiB, some)]));
      const content = fullContent();
      if (!isFull) some.copy(content, MiB);
      expect(await sha256OfExport(pair.backup, backup.id)).toBe(hash(content));
      expect(await agent1.sha256OfPulled(backup.id)).toBe(hash(content));
      expect(await sha256OfExport(pair.backup, base.id)).toBe(hash(fullContent()));
    },
  );
});
