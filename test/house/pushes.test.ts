import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  chainOf,
  commitOf,
  compressed,
  fullContent,
  fullDataBytes,
  hash,
  header,
  imageBytes,
  MiB,
  streamOf,
  tail,
} from '../blackbox/backup-streams.js';
import { expectFailure } from '../blackbox/calls.js';
import * as diff from '../blackbox/diff-v1.js';
import type { Backup, TransferClient } from '../blackbox/transfer-client.js';
import type { Message } from '../blackbox/wire.js';
import * as zstd from '../blackbox/zstd.js';
import { randomBytes } from '../ceph/image-content.js';
import { pool, startTransferHouse, type TransferHouse } from './transfer-house.js';

/** The receiver, driven by somebody else's program: what it takes in comes back bit for bit. */

let at: TransferHouse;
let agent1: TransferClient;

beforeAll(async () => {
  at = await startTransferHouse();
  ({ agent1 } = at);
});

afterAll(() => at?.stop());

describe('the handshake', () => {
  const shake = ({ caller }: TransferClient, protocolMin: number, protocolMax: number) =>
    caller.unary('handshake', { protocolMin, protocolMax, software: 'black-box/1', capabilities: ['x-unknown'] });

  it('tells version, client and stores', async () => {
    expect(await shake(agent1, 2, 2)).toMatchObject({
      protocol: 2,
      client: 'agent1',
      stores: [pool, 'other'],
      capabilities: ['zstd'],
    });
    expect(await shake(at.agent2, 1, 7)).toMatchObject({ protocol: 2, client: 'agent2', stores: [pool] });
  });

  it.each([
    [1, 1],
    [3, 5],
    [99, 99],
    [0, 0],
    [3, 2],
  ])('with versions %i to %i is refused', async (min, max) => {
    await expectFailure(shake(agent1, min, max), 'PROTOCOL_MISMATCH', 'FAILED_PRECONDITION');
  });

  it('of a certificate that the receiver does not know is refused', async () => {
    const error = await expectFailure(shake(at.stranger, 2, 2), 'ACCESS_DENIED', 'PERMISSION_DENIED');
    expect(error.detail.message).toContain('stranger');
  });
});

describe('a good push', () => {
  let full: Backup;
  let increment: Backup;

  /** Neither the cluster nor a pull gives anything else. */
  const expectContent = async ({ id }: Backup, content: Buffer): Promise<void> => {
    expect(at.house.backup.sha256(id)).toBe(hash(content));
    expect(await agent1.sha256OfPulled(id)).toBe(hash(content));
  };

  const incrementContent = (): Buffer => {
    const content = fullContent().fill(0, 0, 300_000);
    tail.copy(content, 1_500_000);
    return content;
  };

  it('of a full makes a backup', async () => {
    const { backup, stream } = await agent1.pushFull();
    full = backup;
    expect(full.id).toMatch(/^rbd2\/vm1\.2026-[^@]+\.bkp\.image@2026-[^@]+\.snap$/);
    expect(full).toMatchObject({
      kind: 'BACKUP_KIND_FULL',
      sizeBytes: String(imageBytes),
      streamBytes: String(stream.length),
      dataBytes: String(fullDataBytes),
      baseId: '',
      client: 'agent1',
    });
    expect(full.streamGmac.equals(diff.gmac(stream))).toBe(true);
    expect(full.source?.metadata).toEqual({ owner: 'ö "quoted"' });
    expect((await agent1.pull(full.id)).header).toEqual(full);
    await expectContent(full, fullContent());
  });

  it('of an increment makes another', async () => {
    const opened = await agent1.open({ baseId: full.id });
    ({ backup: increment } = await agent1.push(opened, diff.zero(0, 300_000), diff.data(1_500_000, tail)));
    expect(increment).toMatchObject({ kind: 'BACKUP_KIND_INCREMENTAL', baseId: full.id, id: opened.backupId });
    await expectContent(increment, incrementContent());
    await expectContent(full, fullContent());
  });

  it('is told again by getBackup and listChains', async () => {
    for (const each of [full, increment]) expect(await agent1.backup(each.id)).toEqual(each);
    expect(await agent1.chains('vm1')).toEqual([
      expect.objectContaining({ name: chainOf(full.id), active: true, partial: false, backups: [full, increment] }),
    ]);
  });

  it('comes back in slices as small as asked for, and no slower for a limit above its size', async () => {
    const sizes: number[] = [];
    const parts: Buffer[] = [];
    const request = { backupId: full.id, limitBytesPerSecond: String(100 * MiB), maxDataBytes: 10_000 };
    for await (const part of agent1.caller.stream<{ data?: Buffer; part: string }>('pull', request)) {
      if (part.part !== 'data' || part.data === undefined) continue;
      sizes.push(part.data.length);
      parts.push(part.data);
    }
    expect(Math.max(...sizes)).toBe(10_000);
    expect(hash(Buffer.concat(parts))).toBe(hash((await agent1.pull(full.id)).stream));
  });

  it('may come in messages cut anywhere, with empty ones between', async () => {
    const { transferId, snaps } = await agent1.open({ baseId: increment.id });
    const bytes = randomBytes('bytewise', 500);
    const stream = streamOf(snaps, diff.data(77, bytes));
    const messages = [...stream].flatMap((byte): Message[] => [{ data: Buffer.of(byte) }, { data: Buffer.alloc(0) }]);
    const { backup } = await agent1.send([header(transferId), ...messages, commitOf(stream)]);
    expect(backup.dataBytes).toBe('500');
    const content = incrementContent();
    bytes.copy(content, 77);
    await expectContent(backup, content);
  });

  it('may be compressed in parts, between others that are not', async () => {
    const { transferId, snaps } = await agent1.open({ baseId: increment.id });
    const content = Buffer.concat([randomBytes('compressed', 700_000), Buffer.alloc(MiB), tail]);
    const stream = streamOf(snaps, diff.data(4096, content));
    const zeroesAt = stream.indexOf(Buffer.alloc(100_000));
    const cuts = [0, 10, 300_000, 310_000, zeroesAt, zeroesAt + MiB, stream.length - 1, stream.length];
    const parts = cuts.slice(1).map((to, index) => stream.subarray(cuts[index], to));
    const messages = parts.map((part, index): Message => {
      if (index === 4) return { zstd: { frame: zstd.zeroes(part.length), contentBytes: part.length } };
      return index % 2 === 0 ? compressed(part) : { data: part };
    });
    const sent = [header(transferId), compressed(Buffer.alloc(0)), ...messages, commitOf(stream)];
    const { backup: mixed } = await agent1.send(sent);
    // Count and digest are those of what came out.
    expect(mixed).toMatchObject({ streamBytes: String(stream.length), dataBytes: String(content.length) });
    const image = incrementContent();
    content.copy(image, 4096);
    await expectContent(mixed, image);
  });

  it.each(['COMPRESSION_ON', 'COMPRESSION_AUTO'])(
    'comes back compressed where that was asked for (%s)',
    async (wish) => {
      const opened = await agent1.open({ image: 'words' });
      const words = Buffer.alloc(MiB, 'what can be compressed, and what cannot; ');
      const { backup } = await agent1.push(opened, diff.data(0, randomBytes('words', MiB)), diff.data(MiB, words));
      const parts = await agent1.caller.all<{ data?: Buffer; zstd?: { frame: Buffer; contentBytes: number } | null }>(
        'pull',
        { backupId: backup.id, compression: wish },
      );
      const frames = parts.flatMap((part) => part.zstd ?? []);
      const plain = parts.reduce((sum, { data }) => sum + (data?.length ?? 0), 0);
      const content = frames.reduce((sum, { contentBytes }) => sum + contentBytes, 0);
      expect(plain + content).toBe((await agent1.pull(backup.id)).stream.length);
      // What is random in it goes as it is.
      expect(plain).toBeGreaterThan(500_000);
      if (wish === 'COMPRESSION_ON') expect(frames.length).toBeGreaterThan(0);
      for (const { frame, contentBytes } of frames) {
        expect(frame.subarray(0, 4).toString('hex')).toBe('28b52ffd');
        expect(frame.length).toBeLessThan(contentBytes);
      }
      await agent1.deleteBackup(backup.id);
    },
  );

  it('of a client that is left in the middle of a pull disturbs nobody', async () => {
    for await (const _ of agent1.caller.stream('pull', { backupId: full.id })) break;
    await expectContent(full, fullContent());
  });

  it('stays what it was when others are removed, wherever they are in the chain', async () => {
    const { backup: first } = await agent1.pushFull('removed');
    const next = async (baseId: string, seed: string) =>
      (await agent1.push(await agent1.open({ image: 'removed', baseId }), diff.data(0, randomBytes(seed, 5000))))
        .backup;
    const middle = await next(first.id, 'one');
    const last = await next(middle.id, 'two');
    const { house } = at;
    const before = [first, last].map(({ id }) => house.backup.sha256(id));
    await agent1.caller.unary('deleteBackup', { backupId: middle.id, dryRun: true });
    expect(await agent1.backup(middle.id)).toEqual(middle);
    expect(await agent1.deleteBackup(middle.id)).toMatchObject({ chainRemoved: false });
    await expectFailure(agent1.backup(middle.id), 'BACKUP_NOT_FOUND', 'NOT_FOUND');
    expect([first, last].map(({ id }) => house.backup.sha256(id))).toEqual(before);
    expect(await agent1.deleteChainOf(first)).toMatchObject({ backupIds: [first.id, last.id] });
    expect(await house.backup.imageNames(pool)).not.toContain(chainOf(first.id));
  });

  it('builds on any backup of its chain, not only on the newest', async () => {
    const { backup } = await agent1.push(await agent1.open({ baseId: full.id }), diff.data(9, tail));
    const content = fullContent();
    tail.copy(content, 9);
    await expectContent(backup, content);
    await expectContent(increment, incrementContent());
  });
});
