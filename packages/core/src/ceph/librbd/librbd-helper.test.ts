import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { LibrbdHelper, type HelperOptions } from './librbd-helper.js';

/**
 * A helper that does what the pool's (or the image's) name says, and writes down what it was asked for. What a real one does is told by
 * the contract suite.
 */
const program = `
import { appendFileSync, readFileSync } from 'node:fs';
const say = (message) => process.send(message);
let conf = '';
const doing = {
  answer: (id) => say({ kind: 'answer', id, answer: [String(process.pid)] }),
  later: (id) => setTimeout(() => doing.answer(id), 300),
  hang: () => {},
  die: () => process.kill(process.pid, 'SIGSEGV'),
  dieOnce: (id) => {
    if (readFileSync(conf + '.calls', 'utf8').split('\\n').filter((line) => line.includes('dieOnce')).length > 1) doing.answer(id);
    else doing.die();
  },
  alive: (id) => {
    let left = 8;
    const timer = setInterval(() => {
      say({ kind: 'alive', id });
      left -= 1;
      if (left > 0) return;
      clearInterval(timer);
      doing.answer(id);
    }, 100);
  },
  shutOut: (id) => say({ kind: 'failure', id, failure: { errno: 108, at: 'call', call: 'rbd_open' } }),
  shutOutOnce: (id) => {
    if (readFileSync(conf + '.calls', 'utf8').split('\\n').filter((line) => line.includes('shutOutOnce')).length > 1) doing.answer(id);
    else doing.shutOut(id);
  },
  denied: (id) => say({ kind: 'failure', id, failure: { errno: 1, at: 'image', call: 'rbd_open' } }),
};
process.on('message', (message) => {
  if (message.kind === 'start') {
    conf = message.conf;
    const how = readFileSync(conf, 'utf8').split(' ')[0];
    if (how === 'dies') process.kill(process.pid, 'SIGABRT');
    if (how === 'unusable') return say({ kind: 'unusable', why: 'no librbd here' });
    say({ kind: 'loaded', librbd: '1.2.3' });
    if (how === 'unconnected') say({ kind: 'not-connected', failure: { errno: 110, at: 'call', call: 'rados_connect' } });
    if (how === 'connected') say({ kind: 'connected', fsid: 'f', address: 'address of ' + process.pid });
  } else if (message.kind === 'call') {
    const { id, verb, ask } = message;
    const what = ask.pool ?? ask.image?.pool ?? ask.address;
    appendFileSync(conf + '.calls', verb + ' ' + what + '\\n');
    (doing[what] ?? doing.answer)(id);
  }
});
process.on('disconnect', () => process.exit());
`;

let dir: string;
let conf: string;
let helper: LibrbdHelper;
const logged: object[] = [];

const start = async (how: string, deadlines: Partial<HelperOptions['deadlines']> = {}): Promise<LibrbdHelper> => {
  await writeFile(conf, how);
  helper = new LibrbdHelper({
    conf,
    user: 'u',
    keyring: undefined,
    concurrency: 1,
    deadlines: { commandMs: 3_000, stallMs: 400, connectMs: 2_000, leastAgeMs: 500, ...deadlines },
    log: { debug: () => {}, warn: (fields) => logged.push(fields) },
    program: path.join(dir, 'helper.mjs'),
  });
  return helper;
};

const asked = { what: 'do it' };
const list = (pool: string, signal?: AbortSignal) => helper.call('list', { pool, namespace: '' }, asked, { signal });
const change = (pool: string, signal?: AbortSignal) =>
  helper.call('createSnapshot', { image: { pool, namespace: '', image: 'i' }, snap: 's' }, asked, { signal });
const calls = async (): Promise<string[]> => (await readFile(`${conf}.calls`, 'utf8')).trim().split('\n');
const fenced = async (): Promise<string[]> => (await calls()).filter((line) => line.startsWith('blocklist'));
const isThere = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

beforeEach(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'rbdferry-helper-'));
  conf = path.join(dir, 'ceph.conf');
  await writeFile(path.join(dir, 'helper.mjs'), program);
  await writeFile(`${conf}.calls`, '');
});

afterEach(async () => {
  await helper.end();
  await rm(dir, { recursive: true, force: true });
});

it('starts one helper for many calls', async () => {
  await start('connected');
  const answers = await Promise.all(Array.from({ length: 300 }, () => list('answer')));
  expect(new Set(answers.flat()).size).toBe(1);
});

describe('a helper that ends under its calls', () => {
  it('is followed by another, which does again what only reads', async () => {
    await start('connected');
    const [before] = await list('answer');
    const [other, answer] = await Promise.all([list('later'), list('dieOnce')]);
    expect(answer).not.toEqual([before]);
    expect(other).toEqual(answer);
    expect(await fenced()).toEqual([]);
  });

  it('fails a change, and its client is shut out before that is told', async () => {
    await start('connected');
    const pid = await list('answer');
    await expect(change('die')).rejects.toMatchObject({
      code: 'CEPH_UNAVAILABLE',
      message: 'cannot do it: the helper that calls librbd ended: it was ended by SIGSEGV',
    });
    expect(await fenced()).toEqual([`blocklist address of ${pid[0]}`]);
    expect((await calls()).filter((line) => line.includes('die'))).toHaveLength(1);
  });

  it('is not started for ever for a question that ends it each time', async () => {
    await start('connected');
    await expect(list('die')).rejects.toMatchObject({ code: 'CEPH_UNAVAILABLE' });
    expect((await calls()).filter((line) => line.includes('die'))).toHaveLength(3);
    expect(await list('answer')).toHaveLength(1);
  });

  it('again and again at its start is started less and less often', async () => {
    await start('dies');
    const begin = performance.now();
    for (let tries = 0; tries < 4; tries += 1)
      await expect(list('answer')).rejects.toMatchObject({ code: 'CEPH_UNAVAILABLE' });
    // 100, 200 and 400 ms are waited in between.
    expect(performance.now() - begin).toBeGreaterThan(690);
    await writeFile(conf, 'connected');
    await vi.waitUntil(async () => (await list('answer').catch(() => [])).length > 0, { timeout: 10_000 });
  });
});

describe('a call that does not end in time', () => {
  it('ends its helper; what others asked is answered all the same', async () => {
    await start('connected', { commandMs: 1_000 });
    const [pid] = await list('answer');
    const [late, later, again] = await Promise.allSettled([list('hang'), list('later'), list('answer')]);
    expect(late).toMatchObject({
      reason: { code: 'CEPH_TIMEOUT', message: 'cannot do it: librbd took longer than 1 s' },
    });
    expect(later).toMatchObject({ value: [pid] });
    expect(again).toMatchObject({ value: [pid] });
    expect(isThere(Number(pid))).toBe(false);
    expect(await list('answer')).not.toEqual([pid]);
    expect(await fenced()).toEqual([]);
  });

  it('is shut out before it is told, when it is a change', async () => {
    await start('connected', { commandMs: 500 });
    const [pid] = await list('answer');
    await expect(change('hang')).rejects.toMatchObject({ code: 'CEPH_TIMEOUT' });
    expect(await fenced()).toEqual([`blocklist address of ${pid}`]);
  });

  it('has time as long as it shows life, when it is a long one', async () => {
    await start('connected');
    const long = (pool: string) => helper.call('listLong', { pool, namespace: '' }, asked, { long: true });
    expect(await long('alive')).toHaveLength(1);
    await expect(long('hang')).rejects.toMatchObject({ message: 'cannot do it: librbd made no progress for 0.4 s' });
  });
});

describe('a call that nobody waits for any more', () => {
  const enough = new Error('enough');

  it('is left alone at once when it only reads; one that hangs ends its helper later', async () => {
    await start('connected', { commandMs: 700 });
    const [pid] = await list('answer');
    const controller = new AbortController();
    const begin = performance.now();
    const asking = expect(list('hang', controller.signal)).rejects.toMatchObject({ cause: enough });
    await vi.waitUntil(async () => (await calls()).includes('list hang'));
    controller.abort(enough);
    await asking;
    expect(performance.now() - begin).toBeLessThan(600);
    expect(await list('answer')).toEqual([pid]);
    await vi.waitUntil(() => !isThere(Number(pid)), { timeout: 5_000 });
  });

  it('may end by itself when it is a change, since breaking it off costs the helper', async () => {
    await start('connected');
    const [pid] = await list('answer');
    const controller = new AbortController();
    const changing = expect(change('later', controller.signal)).rejects.toMatchObject({ cause: enough });
    await vi.waitUntil(async () => (await calls()).includes('createSnapshot later'));
    controller.abort(enough);
    await changing;
    expect(await list('answer')).toEqual([pid]);
    const hanging = new AbortController();
    const broken = expect(change('hang', hanging.signal)).rejects.toMatchObject({ cause: enough });
    await vi.waitUntil(async () => (await calls()).includes('createSnapshot hang'));
    hanging.abort(enough);
    await broken;
    expect(await fenced()).toEqual([`blocklist address of ${pid}`]);
  });

  it('is not made when the signal was aborted before', async () => {
    await start('connected');
    await expect(list('answer', AbortSignal.abort(enough))).rejects.toMatchObject({ cause: enough });
    expect(await readFile(`${conf}.calls`, 'utf8')).toBe('');
  });
});

describe('a client that the cluster has shut out', () => {
  it('is replaced, and what only reads is asked again', async () => {
    await start('connected');
    const [pid] = await list('answer');
    expect(await list('shutOutOnce')).not.toEqual([pid]);
    await vi.waitUntil(() => !isThere(Number(pid)));
    await expect(change('shutOut')).rejects.toMatchObject({ code: 'CEPH_UNAVAILABLE' });
    expect(await change('answer')).toHaveLength(1);
  });
});

describe('a cluster that is not reached', () => {
  it('is tried again with the next call', async () => {
    await start('unconnected');
    await expect(list('answer')).rejects.toMatchObject({
      code: 'CEPH_UNAVAILABLE',
      message: 'cannot do it: the cluster was not reached: rados_connect: (110) connection timed out',
    });
    await writeFile(conf, 'connected');
    expect(await list('answer')).toHaveLength(1);
  });

  it('is given up when nothing comes at all', async () => {
    await start('silent', { connectMs: 100 });
    await expect(list('answer')).rejects.toMatchObject({ code: 'CEPH_UNAVAILABLE' });
  });
});

it('starts anew when ceph.conf or the keyring has changed', async () => {
  await start('connected');
  const [pid] = await list('answer');
  await writeFile(conf, 'connected with another monitor');
  await vi.waitUntil(async () => (await list('answer'))[0] !== pid, { timeout: 5_000 });
  await vi.waitUntil(() => !isThere(Number(pid)));
});

it('tells whether librbd can be used', async () => {
  expect(await (await start('connected')).test()).toEqual({ kind: 'usable', librbd: '1.2.3' });
  await helper.end();
  expect(await (await start('unusable')).test()).toEqual({ kind: 'unusable', why: 'no librbd here' });
  await helper.end();
  expect(await (await start('dies')).test()).toEqual({ kind: 'unusable', why: 'it was ended by SIGABRT' });
});

it('connects anew when a right is missing, which may have been given since, and asks again what only reads', async () => {
  await start('connected');
  const [pid] = await list('answer');
  await expect(list('denied')).rejects.toMatchObject({ code: 'CEPH_PERMISSION' });
  expect(await list('answer')).toEqual([pid]);
  const clock = vi.spyOn(performance, 'now').mockReturnValue(performance.now() + 6_000);
  await expect(list('denied')).rejects.toMatchObject({ code: 'CEPH_PERMISSION' });
  clock.mockRestore();
  const [second] = await list('answer');
  expect(second).not.toBe(pid);
  expect((await calls()).filter((line) => line === 'list denied')).toHaveLength(3);
  const later = vi.spyOn(performance, 'now').mockReturnValue(performance.now() + 20_000);
  await expect(change('denied')).rejects.toMatchObject({ code: 'CEPH_PERMISSION' });
  later.mockRestore();
  expect(await list('answer')).not.toEqual([second]);
  // What a denied change has done before nobody knows.
  expect((await calls()).filter((line) => line === 'createSnapshot denied')).toHaveLength(1);
});

it('says what an errno means', async () => {
  await start('connected');
  await expect(list('denied')).rejects.toMatchObject({
    code: 'CEPH_PERMISSION',
    message: 'cannot do it: rbd_open: (1) operation not permitted',
  });
});
