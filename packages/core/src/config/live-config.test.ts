import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { z } from 'zod';
import { FerryError } from '../errors/ferry-error.js';
import { createLogger } from '../log/logger.js';
import { LiveConfig } from './live-config.js';

const schema = z.strictObject({ listen: z.string(), limit: z.int() });
const log = createLogger('test', 'silent');
let dir: string;
let path: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'rbdferry-live-'));
  path = join(dir, 'x.yaml');
});

afterEach(async () => {
  vi.restoreAllMocks();
  await rm(dir, { recursive: true, force: true });
});

const load = async () => {
  await writeFile(path, 'listen: a\nlimit: 1\n');
  return LiveConfig.load({ path, schema, fixed: ['listen'] });
};
const nothing = () => Promise.resolve();

describe('a configuration that is read anew', () => {
  it('holds at once, but for what needs a restart, which is said', async () => {
    const config = await load();
    const warn = vi.spyOn(log, 'warn');
    await writeFile(path, 'listen: b\nlimit: 2\n');
    const apply = vi.fn(nothing);
    await config.reload(log, apply);
    expect(config.current).toEqual({ listen: 'a', limit: 2 });
    expect(apply).toHaveBeenCalledWith({ listen: 'a', limit: 2 });
    expect(warn).toHaveBeenCalledWith(expect.objectContaining({ keys: ['listen'] }), 'needs a restart: listen');
  });

  it.each(['limit: many', 'a: [', null])('stays as it was when the file is %j', async (text) => {
    const config = await load();
    const error = vi.spyOn(log, 'error');
    if (text === null) await rm(path);
    else await writeFile(path, text);
    await config.reload(log, nothing);
    expect(config.current).toEqual({ listen: 'a', limit: 1 });
    const code = text === null ? 'CONFIG_MISSING' : 'CONFIG_INVALID';
    expect(error).toHaveBeenCalledWith(
      expect.objectContaining({ code }),
      expect.stringContaining('the old one stays in force'),
    );
  });

  it('stays as it was when it cannot be made to hold', async () => {
    const config = await load();
    await writeFile(path, 'listen: a\nlimit: 2\n');
    await config.reload(log, () => Promise.reject(new FerryError('CONFIG_INVALID', 'a bad certificate')));
    expect(config.current.limit).toBe(1);
  });
});
