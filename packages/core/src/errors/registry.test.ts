import { readdir, readFile } from 'node:fs/promises';
import { status } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { abortReason, FerryError, throwIfAborted, toFerryError } from './ferry-error.js';
import { orThrow } from './parsed.js';
import { errorRegistry, isErrorCode, type ErrorEntry } from './registry.js';

const entries: [string, ErrorEntry][] = Object.entries(errorRegistry);

describe('the registry', () => {
  it('gives every code an exit status of its own, from 1 to 255', () => {
    const numbers = entries.map(([, { exit }]) => exit);
    expect(new Set(numbers).size).toBe(numbers.length);
    for (const number of numbers) expect(Number.isInteger(number) && number >= 1 && number <= 255).toBe(true);
  });

  it('keeps clear of what shells and systemd mean by exit statuses', () => {
    // 126 and 127: cannot be run; 128 and up: ended by a signal (130 is Ctrl-C, and CANCELLED on purpose); 200 and up: systemd.
    for (const [code, { exit }] of entries) if (code !== 'CANCELLED') expect(exit, code).toBeLessThan(126);
    expect(errorRegistry.CANCELLED.exit).toBe(130);
  });

  it('names gRPC statuses that exist, and never OK', () => {
    for (const [code, entry] of entries) expect(status[entry.status], code).toBeGreaterThan(0);
  });

  it('has a hint for every code, in one lower-case line', () => {
    for (const [code, { hint }] of entries) {
      expect(hint, code).toMatch(/^[^A-Z\s][^\n]+$/);
      expect(hint, code).not.toContain('|');
    }
  });

  it('knows its own codes and nothing else', () => {
    for (const [code] of entries) expect(isErrorCode(code)).toBe(true);
    for (const other of ['', 'internal', 'constructor', 'toString', '__proto__'])
      expect(isErrorCode(other)).toBe(false);
  });
});

describe('docs/errors.md', () => {
  /** Rows of the table: code, exit, status, retry, what happened, hint. */
  const rows = async (): Promise<string[][]> => {
    const text = await readFile(new URL('../../../../docs/errors.md', import.meta.url), 'utf8');
    return text
      .split('\n')
      .filter((line) => line.startsWith('| `'))
      .map((line) =>
        line
          .slice(2, -2)
          .split(' | ')
          .map((cell) => cell.trim()),
      );
  };

  it('says what the registry says, of every code, in the same order, and of no other', async () => {
    const documented = await rows();
    expect(documented.map(([code, exit, name, retry, , hint]) => [code, exit, name, retry, hint])).toEqual(
      entries.map(([code, entry]) => [
        `\`${code}\``,
        String(entry.exit),
        entry.status,
        entry.retryable ? 'yes' : 'no',
        entry.hint,
      ]),
    );
  });

  it('says of every code what happened', async () => {
    for (const [code, , , , what, ...rest] of await rows()) {
      expect(what?.length, code).toBeGreaterThan(15);
      expect(rest, code).toHaveLength(1);
    }
  });
});

describe('the tests of the whole product', () => {
  it('provoke every code through the command line, with its exit status', async () => {
    const root = new URL('../../../../test/', import.meta.url);
    const files = (await readdir(root, { recursive: true })).filter((name) =>
      /^(e2e|faults|blackbox|house)\/.*\.test\.ts$/.test(name),
    );
    const sources = await Promise.all(files.map((name) => readFile(new URL(name, root), 'utf8')));
    // What they hand to expectError, directly or from a table: the code, then the exit status.
    const provoked = sources
      .filter((source) => source.includes('expectError'))
      .flatMap((source) => [...source.matchAll(/'([A-Z][A-Z_]+)',\s*(\d+),/g)])
      .map(([, code, exit]) => `${code} ${exit}`);
    expect(entries.map(([code, { exit }]) => `${code} ${exit}`).filter((each) => !provoked.includes(each))).toEqual([]);
  });
});

describe('an error', () => {
  it('has the hint of its code unless it brings a better one', () => {
    expect(new FerryError('IMAGE_BUSY', 'x').hint).toBe(errorRegistry.IMAGE_BUSY.hint);
    expect(new FerryError('IMAGE_BUSY', 'x', { hint: 'wait' }).hint).toBe('wait');
    expect(new FerryError('IMAGE_BUSY', 'x').entry).toBe(errorRegistry.IMAGE_BUSY);
  });

  it('is made of whatever was thrown', () => {
    const ours = new FerryError('USAGE', 'x');
    expect(toFerryError(ours)).toBe(ours);
    const cause = new TypeError('y');
    expect(toFerryError(cause)).toMatchObject({ code: 'INTERNAL', message: 'y', cause });
    expect(toFerryError('z')).toMatchObject({ code: 'INTERNAL', message: 'z' });
    expect(toFerryError(undefined)).toMatchObject({ code: 'INTERNAL', message: 'undefined' });
  });

  it('is the reason of an aborted signal; one without a reason of ours is a cancellation', () => {
    const reason = new FerryError('JOB_INTERRUPTED', 'stopping');
    expect(abortReason(AbortSignal.abort(reason))).toBe(reason);
    expect(abortReason(AbortSignal.abort())).toMatchObject({ code: 'CANCELLED' });
    expect(abortReason(AbortSignal.abort('because'))).toMatchObject({ code: 'CANCELLED', cause: 'because' });
    expect(() => {
      throwIfAborted(AbortSignal.abort(reason));
    }).toThrow(reason);
    throwIfAborted(undefined);
    throwIfAborted(new AbortController().signal);
  });

  it('carries the words of a parser of the model', () => {
    expect(orThrow({ ok: true, value: 5 }, 'USAGE')).toBe(5);
    expect(() => orThrow({ ok: false, problem: 'no' }, 'INVALID_BACKUP_ID')).toThrow(
      expect.objectContaining({ code: 'INVALID_BACKUP_ID', message: 'no' }),
    );
  });
});
