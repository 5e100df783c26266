import { access, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FerryError } from '../errors/ferry-error.js';
import type { ByteSource, CephPort } from './port.js';
import { createRbdCli, type Deadlines } from './rbd-cli.js';

/** How the adapter owns its children, with shell scripts in the place of `rbd`. */
let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'rbd-cli-'));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

const image = { pool: 'rbd', namespace: '', image: 'vm1' };
const range = { snap: 's', fromSnap: null };
const quick: Partial<Deadlines> = { commandMs: 300, stallMs: 300, killGraceMs: 200, closeGraceMs: 200 };

let scripts = 0;
const withScript = async (body: string, deadlines: Partial<Deadlines> = {}): Promise<CephPort> => {
  const file = path.join(dir, `rbd-${(scripts += 1)}`);
  await writeFile(file, `#!/bin/sh\n${body}\n`, { mode: 0o700 });
  return createRbdCli({ conf: '/etc/c.conf', user: 'agent', keyring: '/k', rbdPath: file, cephPath: file, deadlines });
};

const gone = async (pid: number): Promise<boolean> => {
  for (let tries = 0; tries < 50; tries += 1) {
    try {
      process.kill(pid, 0);
    } catch {
      return true;
    }
    await sleep(20);
  }
  return false;
};

const read = async (source: ByteSource): Promise<string> => {
  const chunks: Uint8Array[] = [];
  for await (const { bytes } of source) chunks.push(bytes);
  return Buffer.concat(chunks).toString();
};

describe('what a child sees', () => {
  it('is the identity, and nothing of our environment that could change its answer', async () => {
    process.env['CEPH_ARGS'] = '--id=evil';
    try {
      const ceph = await withScript(String.raw`printf '["%s"]' "$* CEPH_ARGS=$CEPH_ARGS $LC_ALL $TZ"`);
      expect(await ceph.list({ pool: 'rbd', namespace: 'ns' })).toEqual([
        '--conf /etc/c.conf --id agent --keyring /k --admin-socket= --log-file= --log-to-stderr=false --err-to-stderr=true --client-mount-timeout=30 ls --pool=rbd --namespace=ns --format=json CEPH_ARGS= C UTC',
      ]);
    } finally {
      delete process.env['CEPH_ARGS'];
    }
  });

  it('is an empty standard input', async () => {
    const ceph = await withScript(String.raw`printf '["%s"]' "$(wc -c)"`);
    expect((await ceph.list(image)).map(Number)).toEqual([0]);
  });
});

describe('patience', () => {
  it('ends a quick command at its deadline', async () => {
    const ceph = await withScript('echo "pid $$" >&2; sleep 30', quick);
    await expect(ceph.list(image)).rejects.toMatchObject({
      code: 'CEPH_TIMEOUT',
      message: expect.stringContaining('took longer than 0.3 s'),
    });
  });

  it('kills a child that does not listen to TERM', async () => {
    const file = path.join(dir, 'pid');
    const ceph = await withScript(`trap '' TERM; echo $$ > ${file}; while :; do sleep 0.05; done`, quick);
    await expect(ceph.list(image)).rejects.toMatchObject({ code: 'CEPH_TIMEOUT' });
    expect(await gone(Number(await readFile(file, 'utf8')))).toBe(true);
  });

  it('lets a long command go on as long as it tells of progress', async () => {
    const ceph = await withScript(
      'for i in 1 2 3 4 5 6; do printf "\\rRemoving image: $i%% complete..." >&2; sleep 0.4; done',
      { ...quick, stallMs: 1_500 },
    );
    expect(await ceph.remove(image)).toBe(true);
  });

  it('ends a long command that tells of none', async () => {
    const ceph = await withScript('printf "Rolling back: 1%%" >&2; exec sleep 30', quick);
    await expect(ceph.rollback(image, 's')).rejects.toMatchObject({
      code: 'CEPH_TIMEOUT',
      message: expect.stringContaining('made no progress for 0.3 s'),
    });
  });

  it('ends with the signal, and throws its reason', async () => {
    const ceph = await withScript('exec sleep 30', { leastAgeMs: 100 });
    const reason = new FerryError('TRANSFER_STALLED', 'stop');
    await expect(ceph.list(image, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    const controller = new AbortController();
    const answer = ceph.list(image, { signal: controller.signal });
    setTimeout(() => controller.abort(reason), 50);
    await expect(answer).rejects.toBe(reason);
  });

  it('lets a young one end by itself, so that it leaves no lock', async () => {
    const file = path.join(dir, 'ended');
    const ceph = await withScript(`sleep 0.3; echo > ${file}`);
    const reason = new FerryError('CANCELLED', 'stop');
    const controller = new AbortController();
    const answer = ceph.setMetadata(image, 'key', 'value', { signal: controller.signal });
    controller.abort(reason);
    await expect(answer).rejects.toBe(reason);
    await access(file);
  });

  it('kills one that takes long by its nature at once', async () => {
    const ceph = await withScript('exec sleep 30', { leastAgeMs: 60_000 });
    const controller = new AbortController();
    const answer = ceph.rollback(image, 's', { signal: controller.signal });
    controller.abort();
    await expect(answer).rejects.toMatchObject({ code: 'CANCELLED' });
  });
});

describe('failures', () => {
  it('keeps the end of what a chatty child says', async () => {
    const ceph = await withScript(
      'head -c 3000000 /dev/zero | tr "\\0" x >&2; printf "\\nrbd: the last words\\n" >&2; exit 5',
    );
    const error = await ceph.list(image).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'CEPH_FAILED', message: expect.stringMatching(/the last words$/) });
    expect((error as Error).message.length).toBeLessThan(70_000);
  });

  it('tells of a child that was killed', async () => {
    const ceph = await withScript('kill -9 $$');
    await expect(ceph.list(image)).rejects.toMatchObject({
      code: 'CEPH_FAILED',
      message: expect.stringContaining('SIGKILL'),
    });
  });

  it('tells of a program that is not there, whatever was asked of it', async () => {
    const ceph = createRbdCli({ conf: '/c', user: 'u', rbdPath: '/nope/rbd', cephPath: '/nope/ceph' });
    const missing = expect.objectContaining({ code: 'CEPH_NOT_INSTALLED' });
    await expect(ceph.list(image)).rejects.toEqual(missing);
    await expect(ceph.fsid()).rejects.toEqual(missing);
    await expect(read(ceph.exportDiff(image, range))).rejects.toEqual(missing);
    const sink = ceph.importDiff(image);
    await expect(sink.write(Buffer.from('x'))).rejects.toEqual(missing);
    await sink.abort();
  });

  it('does not remember a failed question for the fsid', async () => {
    const file = path.join(dir, 'asked');
    const ceph = await withScript(
      `test -e ${file} && { echo db68cf53-3525-4204-8f1b-ea2c36610fec; echo x >> ${file}; exit; }; touch ${file}; exit 1`,
    );
    await expect(ceph.fsid()).rejects.toMatchObject({ code: 'CEPH_FAILED' });
    expect(await ceph.fsid()).toBe('db68cf53-3525-4204-8f1b-ea2c36610fec');
    await rm(file);
    expect(await ceph.fsid()).toBe('db68cf53-3525-4204-8f1b-ea2c36610fec');
    await expect(ceph.fsid({ isAsked: true })).rejects.toMatchObject({ code: 'CEPH_FAILED' });
    expect(await ceph.fsid()).toBe('db68cf53-3525-4204-8f1b-ea2c36610fec');
  });

  it('refuses metadata that rbd cannot take', async () => {
    const ceph = await withScript('exit 0');
    await expect(ceph.setMetadata(image, 'k', '')).rejects.toMatchObject({ code: 'CEPH_FAILED' });
    await expect(ceph.setMetadata(image, 'k', 'ü'.repeat(60_001))).rejects.toMatchObject({ code: 'CEPH_FAILED' });
    await ceph.setMetadata(image, 'k', 'ü'.repeat(60_000));
  });
});

describe('bytes from a child', () => {
  it('come whole', async () => {
    const ceph = await withScript(
      `printf "rbd diff"; sleep 0.05; printf " v1\\n"; head -c 3000000 /dev/zero; printf end`,
    );
    const got = await read(ceph.exportDiff(image, range));
    expect(got.length).toBe(3_000_015);
    expect(got.slice(0, 12)).toBe('rbd diff v1\n');
  });

  it('are a diff, or an error', async () => {
    const lost = await withScript(
      `echo "server name not found: x"; echo "rbd: couldn't connect to the cluster!" >&2; exit 22`,
    );
    await expect(read(lost.exportDiff(image, range))).rejects.toMatchObject({ code: 'CEPH_UNAVAILABLE' });
    const chatty = await withScript('echo "a line that is no diff"; head -c 100000 /dev/zero');
    await expect(read(chatty.exportDiff(image, range))).rejects.toMatchObject({ code: 'CEPH_FAILED' });
    const silent = await withScript('exit 0');
    await expect(read(silent.exportDiff(image, range))).rejects.toMatchObject({ code: 'CEPH_FAILED' });
  });

  it('do not end well when the child does not', async () => {
    const ceph = await withScript(
      'echo "rbd diff v1"; printf some; echo "error setting snapshot context: (2) No such file or directory" >&2; exit 2',
    );
    await expect(read(ceph.exportDiff(image, range))).rejects.toMatchObject({ code: 'SNAPSHOT_NOT_FOUND' });
    const killed = await withScript('echo "rbd diff v1"; kill -9 $$');
    await expect(read(killed.exportDiff(image, range))).rejects.toMatchObject({ code: 'CEPH_FAILED' });
  });

  it('wait for a slow reader', async () => {
    const file = path.join(dir, 'progress');
    const ceph = await withScript(
      `echo "rbd diff v1"; i=0; while [ $i -lt 64 ]; do head -c 1048576 /dev/zero; i=$((i+1)); echo $i > ${file}; done`,
    );
    for await (const _ of ceph.exportDiff(image, range)) {
      await sleep(300);
      expect(Number(await readFile(file, 'utf8').catch(() => '0'))).toBeLessThan(3);
      break;
    }
  });

  it('end the child when nobody wants them any more', async () => {
    const ceph = await withScript(`printf "rbd diff v1\\n$$ "; exec cat /dev/zero`);
    let pid = 0;
    for await (const chunk of ceph.exportDiff(image, range)) {
      pid = Number.parseInt(chunk.bytes.toString('latin1').slice('rbd diff v1\n'.length), 10);
      break;
    }
    expect(await gone(pid)).toBe(true);
  });

  it('end with the signal while the child says nothing', async () => {
    const ceph = await withScript('echo "rbd diff v1"; exec sleep 30');
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 100);
    await expect(read(ceph.exportDiff(image, range, { signal: controller.signal }))).rejects.toMatchObject({
      code: 'CANCELLED',
    });
  });

  it('start no child before they are read', async () => {
    const file = path.join(dir, 'started');
    const ceph = await withScript(`echo > ${file}; echo "rbd diff v1"`);
    const source = ceph.exportDiff(image, range);
    await sleep(100);
    await expect(access(file)).rejects.toThrow();
    await read(source);
    await access(file);
  });
});

describe('bytes into a child', () => {
  const big = Buffer.alloc(1 << 20);

  it('arrive, and finish waits for the end', async () => {
    const file = path.join(dir, 'got');
    const ceph = await withScript(`cat > ${file}; sleep 0.1; echo >> ${file}`);
    const sink = ceph.importDiff(image);
    for (let count = 0; count < 5; count += 1) await sink.write(big);
    await sink.finish();
    expect((await stat(file)).size).toBe(5 * big.length + 1);
  });

  it('tell why the child died, not that the pipe broke', async () => {
    const ceph = await withScript(
      'head -c 100000 > /dev/null; echo "rbd: import-diff failed: (28) No space left on device" >&2; exit 28',
    );
    const sink = ceph.importDiff(image);
    const writeAll = async (): Promise<void> => {
      for (let count = 0; count < 50; count += 1) await sink.write(big);
    };
    await expect(writeAll()).rejects.toMatchObject({ code: 'CEPH_NO_SPACE' });
    await expect(sink.write(big)).rejects.toMatchObject({ code: 'CEPH_NO_SPACE' });
    await expect(sink.finish()).rejects.toMatchObject({ code: 'CEPH_NO_SPACE' });
    await sink.abort();
  });

  it('may be broken off while a write waits, and the child just sees the end of its input', async () => {
    const file = path.join(dir, 'end');
    const ceph = await withScript(`sleep 0.3; cat > /dev/null; echo "clean end" > ${file}; exit 74`, {
      closeGraceMs: 5_000,
    });
    const sink = ceph.importDiff(image);
    const write = sink.write(Buffer.alloc(10 << 20));
    const failed = expect(write).rejects.toMatchObject({ code: 'CANCELLED' });
    await sink.abort();
    await failed;
    expect(await readFile(file, 'utf8')).toBe('clean end\n');
  });

  it('are broken off by force when the child does not end', async () => {
    const ceph = await withScript("trap '' TERM; while :; do sleep 0.05; done", quick);
    const sink = ceph.importDiff(image);
    const begin = performance.now();
    await sink.abort();
    await sink.abort();
    expect(performance.now() - begin).toBeGreaterThan(390);
    await expect(sink.write(big)).rejects.toMatchObject({ code: 'CANCELLED' });
  });

  it('are broken off by the signal, whose reason the waiting write throws', async () => {
    const ceph = await withScript('sleep 0.2; exit 74');
    const controller = new AbortController();
    const reason = new FerryError('TRANSFER_STALLED', 'stop');
    const sink = ceph.importDiff(image, { signal: controller.signal });
    const write = expect(sink.write(Buffer.alloc(10 << 20))).rejects.toBe(reason);
    controller.abort(reason);
    await write;
    await expect(sink.finish()).rejects.toBe(reason);
    await sink.abort();
  });
});
