import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { JobStore } from './job-store.js';
import { StateLock } from './state-lock.js';

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'rbdferry-lock-'));
});

afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

const locked = expect.objectContaining({ code: 'STATE_LOCKED', message: expect.stringContaining('rbdferry-lock-') });

describe('the lock of a state directory', () => {
  it('is had by one, also under another name of the directory, until it is given back', async () => {
    const lock = new StateLock(directory);
    const other = `${directory}-link`;
    await symlink(directory, other);
    try {
      expect(() => new StateLock(directory)).toThrow(locked);
      expect(() => new StateLock(other)).toThrow(locked);
      lock.release();
      new StateLock(other).release();
    } finally {
      await rm(other);
    }
  });

  it('makes the directory, and leaves the job store open to whoever looks into it', () => {
    const path = join(directory, 'not', 'there');
    const lock = new StateLock(path);
    new JobStore(path).close();
    lock.release();
  });

  it('says so when the directory cannot be used', async () => {
    const path = join(directory, 'file');
    await writeFile(path, '');
    expect(() => new StateLock(path)).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID', message: expect.stringContaining(JSON.stringify(path)) }),
    );
  });

  it('goes with the process that had it, however that ended', async () => {
    const module = new URL('../../dist/jobs/state-lock.js', import.meta.url).href;
    const holding = `const { StateLock } = await import(${JSON.stringify(module)});
      globalThis.lock = new StateLock(${JSON.stringify(directory)}); console.log('locked'); setInterval(() => {}, 1000);`;
    const child = execFile(process.execPath, ['--input-type=module', '-e', holding]);
    if (child.stdout === null) throw new Error('no stdout');
    const ended = once(child, 'exit');
    try {
      await once(child.stdout, 'data');
      expect(() => new StateLock(directory)).toThrow(locked);
    } finally {
      child.kill('SIGKILL');
    }
    await ended;
    new StateLock(directory).release();
  });
});
