import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { parseImageSpec } from '../model/image-spec.js';
import { parseNamedBackup, shortIdOf } from './short-id.js';

const id = 'rbd2/vm1.2026-11-24.10:40:39.458883.bkp.image@2026-11-24.22:40:43.707889.snap';

describe('a short id', () => {
  it('is what sha256sum says of the whole id, for ever', () => {
    expect(shortIdOf(id)).toBe(createHash('sha256').update(id).digest('hex').slice(0, 8));
    expect(shortIdOf(id)).toBe('89363955');
  });

  it('is taken with 8 digits and more, in letters of either size', () => {
    expect(parseNamedBackup('0A1b2C3d')).toEqual({ ok: true, value: { kind: 'short', digits: '0a1b2c3d' } });
    expect(parseNamedBackup('a'.repeat(64))).toMatchObject({ ok: true });
  });

  it.each([
    ['abcd', 'too short: a short id has 8 digits'],
    ['abcdef1', 'too short'],
    ['a'.repeat(65), 'not a backup id'],
    ['abcdefgh', 'not a backup id'],
    ['abcd 123', 'not a backup id'],
    ['', 'not a backup id'],
    ['rbd/deadbeef', 'not a backup id'],
  ])('is not %j', (text, words) => {
    const named = parseNamedBackup(text);
    expect(named.ok ? '' : named.problem).toContain(words);
  });

  it('is no image, and no image is one', () => {
    expect(parseImageSpec('deadbeef').ok).toBe(false);
    expect(parseNamedBackup('rbd/vm1').ok).toBe(false);
  });
});

it('a whole id stays as it is, with its store', () => {
  expect(parseNamedBackup(id)).toEqual({ ok: true, value: { kind: 'whole', id, store: 'rbd2' } });
});
