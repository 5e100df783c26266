import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { FerryError } from '../errors/ferry-error.js';
import { loadConfig, parseConfig } from './load.js';
import { addressSchema, cephSchema, durationSchema, nameSchema, poolSchema, sizeSchema, tlsSchema } from './schemas.js';

/** As the daemons' own schemas are made. */
const schema = z
  .strictObject({
    listen: addressSchema.default('0.0.0.0:7443'),
    tls: tlsSchema,
    ceph: cephSchema.optional(),
    stores: z.record(nameSchema('store'), z.strictObject({ pool: poolSchema })),
    clients: z.array(z.strictObject({ name: z.string(), stores: z.array(nameSchema('store')) })).default([]),
    window: sizeSchema.default(1),
    keep: durationSchema.default(1),
    transfers: z.int().min(1).max(4).default(2),
  })
  .superRefine(({ clients, stores }, context) => {
    for (const [index, client] of clients.entries()) {
      for (const [at, store] of client.stores.entries()) {
        if (Object.hasOwn(stores, store)) continue;
        context.addIssue({ code: 'custom', path: ['clients', index, 'stores', at], message: `there is no ${store}` });
      }
    }
  });

const good = `tls: { ca: a, cert: b, key: c }
stores:
  rbd2: { pool: rbd2 }
`;

const refusal = (text: string): string => {
  try {
    parseConfig(text, 'receiver.yaml', schema);
  } catch (thrown) {
    if (thrown instanceof FerryError && thrown.code === 'CONFIG_INVALID') return thrown.message;
    throw thrown;
  }
  throw new Error('expected a refusal');
};

describe('a configuration', () => {
  it('that is right is read, with defaults', () => {
    expect(parseConfig(good, 'x', schema)).toMatchObject({
      listen: '0.0.0.0:7443',
      stores: { rbd2: { pool: { pool: 'rbd2', namespace: '' } } },
      transfers: 2,
    });
  });

  it('may be JSON, have comments, a byte order mark, Windows line ends, anchors and merged keys spelled out', () => {
    const text = `\ufeff# comment\r\n{"tls": {"ca": "a", "cert": "b", "key": "c"}, # another\r\n"stores": {}}\r\n`;
    expect(parseConfig(text, 'x', schema).stores).toEqual({});
    const shared = `stores: { a: &pool { pool: p }, b: *pool }\ntls: { ca: &f x, cert: *f, key: *f }\n`;
    expect(parseConfig(shared, 'x', schema)).toMatchObject({
      stores: { a: { pool: { pool: 'p' } }, b: { pool: { pool: 'p' } } },
      tls: { key: 'x' },
    });
  });
});

describe('a configuration that is wrong is refused with file, line, column, key and what is wrong', () => {
  const at = (place: string) => `receiver.yaml:${place}`;

  it.each<[string, string, string]>([
    ['an unknown key', `${good}recievers: {}\n`, `${at('4:1')}: recievers: unknown key`],
    [
      'a nested unknown key',
      good.replace('pool: rbd2', 'pool: rbd2, size: 3'),
      `${at('3:23')}: stores.rbd2.size: unknown key`,
    ],
    [
      'an unknown key in a list',
      `${good}clients:\n  - name: x\n    stores: []\n    rights: all\n`,
      `${at('7:5')}: clients.0.rights: unknown key`,
    ],
    ['a wrong type', `${good}transfers: two\n`, `${at('4:12')}: transfers: expected number, not string`],
    ['a nested wrong type', good.replace('ca: a', 'ca: [a]'), `${at('1:12')}: tls.ca: expected string, not array`],
    [
      'a wrong type in a list',
      `${good}clients:\n  - name: x\n    stores: [rbd2, 7]\n`,
      `${at('6:20')}: clients.0.stores.1: expected string, not number`,
    ],
    [
      'a map where a value belongs',
      `${good}window: { a: 1 }\n`,
      `${at('4:9')}: window: expected a size such as 64MiB or 2GB`,
    ],
    [
      'a value where a map belongs',
      good.replace('{ pool: rbd2 }', 'rbd2'),
      `${at('3:9')}: stores.rbd2: expected object, not string`,
    ],
    ['a missing key', 'stores: {}\n', `${at('1:1')}: tls: is missing`],
    ['a missing nested key', `# x\n${good.replace('cert: b, ', '')}`, `${at('2:6')}: tls.cert: is missing`],
    [
      'a key without a value',
      good.replace('{ pool: rbd2 }', ''),
      `${at('3:9')}: stores.rbd2: expected object, not null`,
    ],
    ['a number out of range', `${good}transfers: 5\n`, `${at('4:12')}: transfers: Too big: expected number to be <=4`],
    ['a fraction', `${good}transfers: 1.5\n`, `${at('4:12')}: transfers: expected int, not number`],
    [
      'an illegal name as a key',
      good.replace('rbd2:', '-rbd2:'),
      `${at('3:3')}: stores.-rbd2: the store name "-rbd2" starts with '-'`,
    ],
    [
      'a problem below a key that is a number',
      good.replace('rbd2: { pool: rbd2 }', '12: { pool: a/b/c }'),
      `${at('3:15')}: stores.12.pool: "a/b/c" is not a pool: expected POOL or POOL/NAMESPACE`,
    ],
    [
      'an illegal value',
      `${good}keep: 5 parsecs\n`,
      `${at('4:7')}: keep: "5 parsecs" is not a duration such as 90s, 10m, 36h or 7d`,
    ],
    [
      'a value that contradicts another',
      `${good}clients: [{ name: x, stores: [nope] }]\n`,
      `${at('4:31')}: clients.0.stores.0: there is no nope`,
    ],
    [
      'a problem behind an alias',
      good.replace('{ pool: rbd2 }', '&x { pool: "a@b" }\n  b: *x'),
      `${at('3:20')}: stores.rbd2.pool: the pool name "a@b" holds "@", which means something else in POOL/IMAGE@SNAPSHOT; ${at('3:20')}: stores.b.pool: the pool name "a@b" holds "@", which means something else in POOL/IMAGE@SNAPSHOT`,
    ],
    [
      'several unknown keys',
      `${good}one: 1\ntwo: 2\n`,
      `${at('4:1')}: one: unknown key; ${at('5:1')}: two: unknown key`,
    ],
    ['nothing at all', '', `${at('1:1')}: expected object, not null`],
    ['nothing but comments', '# nothing\n', `${at('1:1')}: expected object, not null`],
    ['a list', '- a\n', `${at('1:1')}: expected object, not array`],
    ['plain text', 'hello', `${at('1:1')}: expected object, not string`],
    ['a key given twice', `${good}stores: {}\n`, `${at('4:1')}: Map keys must be unique`],
    ['a second document', `${good}---\nlisten: x\n`, `${at('4:1')}: a second document begins, expected one`],
    ['an alias of nothing', `${good}listen: *where\n`, `${at('4:9')}: there is no anchor &where before this alias`],
  ])('%s', (_, text, message) => {
    expect(refusal(text)).toBe(message);
  });

  it.each([
    ['a bracket left open', 'a: [1, 2', /^receiver\.yaml:1:9: /],
    ['a tab as indentation', 'tls:\n\tca: a\n', /^receiver\.yaml:2:1: Tabs/],
    ['uneven indentation', 'tls:\n  ca: a\n cert: b\n', /^receiver\.yaml:3:1: /],
    ['a quote left open', 'listen: "x\n', /^receiver\.yaml:\d+:\d+: /],
    ['aliases that grow without bounds', bomb(), /^receiver\.yaml:1:1: Excessive alias count/],
    ['__proto__', `${good}__proto__: { x: 1 }\n`, /^receiver\.yaml:4:1: __proto__: unknown key$/],
  ])('%s', (_, text, message) => {
    expect(refusal(text)).toMatch(message);
  });
});

/** "A billion laughs". */
function bomb(): string {
  const lines = ['a0: &a0 [x]'];
  for (let level = 1; level < 12; level += 1) {
    lines.push(`a${level}: &a${level} [${Array.from({ length: 9 }, () => `*a${level - 1}`).join(', ')}]`);
  }
  return lines.join('\n');
}

describe('a configuration file', () => {
  let dir = '';

  afterEach(async () => {
    if (dir !== '') await rm(dir, { recursive: true, force: true });
    dir = '';
  });

  it('is read', async () => {
    dir = await mkdtemp(join(tmpdir(), 'rbdferry-config-'));
    const path = join(dir, 'receiver.yaml');
    await writeFile(path, good);
    expect((await loadConfig(path, schema)).transfers).toBe(2);
    await writeFile(path, 'x: 1\n');
    await expect(loadConfig(path, schema)).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining(`${path}:1:1: x: unknown key`),
    });
  });

  it.each(['/no/such/receiver.yaml', tmpdir()])('that cannot be read is missing: %s', async (path) => {
    await expect(loadConfig(path, schema)).rejects.toMatchObject({
      code: 'CONFIG_MISSING',
      message: expect.stringContaining(JSON.stringify(path)),
    });
  });
});
