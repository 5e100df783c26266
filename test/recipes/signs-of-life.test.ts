import { sendDiff } from '@rbdferry/agent/backup/send.js';
import type { ByteSource } from '@rbdferry/core/ceph/port.js';
import { Compression, type PushRequest } from '@rbdferry/core/gen/rbdferry/v1/transfer.js';
import { Lease } from '@rbdferry/core/transfer/lease.js';
import { PeerLife, RbdLife, type Lives } from '@rbdferry/core/transfer/life.js';
import { StageMeter } from '@rbdferry/core/transfer/stage-meter.js';
import { TransferStages } from '@rbdferry/core/transfer/transfer-stages.js';
import type { Store } from '@rbdferry/receiver/store/port.js';
import { sendPull } from '@rbdferry/receiver/transfer/pull.js';
import { receivePush } from '@rbdferry/receiver/transfer/push.js';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { fakeCeph } from '../fake-ceph/fake-ceph.js';
import { FakeCluster } from '../fake-ceph/fake-cluster.js';
import { diffOf, factsOf, makeSource, type Source } from './source.js';
import { partsOf, pushTo, rbdStoreOn, storePool } from './store.js';

/** Both ends of a transfer while no bytes move: how long they wait, and whom they blame. */
const stallMs = 60_000;
const never = new Promise<never>(() => {});
let source: Source;
let backup: FakeCluster;
let store: Store;
let lives: Lives;

beforeEach(async () => {
  vi.useFakeTimers();
  source = await makeSource();
  backup = new FakeCluster(storePool.pool);
  store = rbdStoreOn(fakeCeph(backup));
});

afterEach(() => {
  vi.useRealTimers();
});

async function* nothingMore<T>(...items: T[]): AsyncGenerator<T, void, undefined> {
  yield* items;
  await never;
}

const sending = async (bytes: ByteSource, send: () => Promise<void>): Promise<unknown> => {
  const push = { send, commit: () => never, cancel: () => {} };
  const { signal } = new AbortController();
  const meter = new StageMeter();
  const told = { onRead: () => {}, onSent: () => {}, onCommit: () => {} };
  return sendDiff(bytes, push, { stallMs, lives, meter, compression: null, buckets: [], signal, ...told });
};

const receiving = async (messages: (chunks: Uint8Array[]) => AsyncIterable<PushRequest>): Promise<unknown> => {
  const [snap] = source.snaps;
  const chunks = await diffOf(source, { snap, fromSnap: null });
  const intent = { source: await factsOf(source, snap), snap, base: null, client: 'agent1' };
  const { signal } = new AbortController();
  const stages = new TransferStages('taker');
  return receivePush(messages(chunks), await store.open(intent, {}), {
    intent,
    stallMs,
    zstd: null,
    stages,
    lives,
    signal,
  });
};

const dataOf = (chunks: Uint8Array[]): PushRequest[] =>
  chunks.map((chunk) => ({ part: { $case: 'data', value: Buffer.from(chunk) } }));

const asked = { limitBytesPerSecond: 0n, maxDataBytes: 0, compression: Compression.UNSPECIFIED };

const pulling = async (): Promise<unknown> => {
  const [snap] = source.snaps;
  const { id } = await pushTo(store, { source, snap, base: null });
  const pull = await store.read(partsOf(id), {});
  const { signal } = new AbortController();
  const options = { stallMs, life: lives.rbd, zstd: null, meter: new StageMeter(), signal };
  const messages = sendPull({ ...pull, stream: nothingMore() }, asked, options);
  for await (const _ of messages);
  return 'ended';
};

const ownRbd = (cluster: 'source' | 'backup') => ({
  sign: () => {
    lives.rbd.sign();
  },
  hint: `got no answer from the ${cluster} cluster`,
});

/** It goes on answering; what it says of its own rbd counts. */
const peer = (name: 'agent' | 'receiver') => ({
  sign: () => {
    lives.peer.heard(300);
  },
  hint: `the ${name} answers, but moves nothing`,
});

it.each([
  {
    what: 'rbd export-diff sent no data',
    ...ownRbd('source'),
    start: () => sending(nothingMore(Lease.of(Buffer.from('rbd diff v1\n'))), () => Promise.resolve()),
  },
  {
    what: 'the receiver took no data',
    ...peer('receiver'),
    start: () => sending(nothingMore(Lease.of(Buffer.from('rbd diff v1\n'))), () => never),
  },
  { what: 'the agent sent no data', ...peer('agent'), start: () => receiving(() => nothingMore<PushRequest>()) },
  {
    what: 'took no data',
    ...ownRbd('backup'),
    start: () => {
      backup.trouble.hang((call) => call === 'importDiff.write');
      return receiving((chunks) => nothingMore(...dataOf(chunks)));
    },
  },
  { what: 'rbd export-diff sent no data', ...ownRbd('backup'), start: pulling },
])('$what: no stall while there is life, and the fault of whoever shows none ($hint)', async (each) => {
  lives = { rbd: new RbdLife(each.hint.includes('backup') ? 'backup' : 'source'), peer: new PeerLife(peerOf(each)) };
  let outcome: unknown = 'waiting';
  each.start().catch((thrown: unknown) => {
    outcome = thrown;
  });
  for (let sign = 0; sign < 10; sign += 1) {
    await vi.advanceTimersByTimeAsync(stallMs / 2);
    each.sign();
  }
  expect(outcome).toBe('waiting');
  for (let silentMs = 0; silentMs < 2 * stallMs; silentMs += 1_000) {
    await vi.advanceTimersByTimeAsync(1_000);
    if (outcome === 'waiting') lives.peer.heard(silentMs + 1_300);
  }
  expect(outcome).toMatchObject({
    code: 'TRANSFER_STALLED',
    message: expect.stringContaining(`${each.what} for 60 s`),
    hint: expect.stringContaining(each.hint),
  });
});

const peerOf = ({ hint }: { readonly hint: string }): 'agent' | 'receiver' =>
  hint.includes('receiver') ? 'receiver' : 'agent';
