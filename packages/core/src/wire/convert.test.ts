import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FerryError } from '../errors/ferry-error.js';
import * as wire from '../gen/rbdferry/v1/model.js';
import {
  chainNameOf,
  formatBackupId,
  formatTimestamp,
  snapNameOf,
  type BackupId,
  type SnapName,
} from '../model/backup-id.js';
import type { Backup, Chain, ChainUsage, SourceFacts } from '../model/chain.js';
import {
  backupFromWire,
  backupToWire,
  chainFromWire,
  chainNameFromWire,
  chainToWire,
  idFromWire,
  requireField,
  snapFromWire,
  sourceFromWire,
  sourceToWire,
  specFromWire,
  usageFromWire,
  usageToWire,
} from './convert.js';

const name = fc.stringMatching(/^[A-Za-z0-9_.:+=,%][A-Za-z0-9_.:+=,%-]{0,30}$/).filter((text) => !/^\.\.?$/.test(text));
const bytes = fc.bigInt({ min: 0n, max: BigInt(Number.MAX_SAFE_INTEGER) });
const micros = fc.bigInt({ min: 0n, max: 4_000_000_000_000_000n });
const snap = micros.map((time): SnapName => snapNameOf(formatTimestamp(time)));
const chainName = fc.tuple(name, micros).map(([image, time]) => chainNameOf(image, formatTimestamp(time)));
const id = fc.tuple(name, chainName, snap).map(([store, chain, snap]) => ({
  snap,
  id: formatBackupId({ store, chain, snap }),
}));
const spec = fc.record({ pool: name, namespace: fc.oneof(fc.constant(''), name), image: name });
const digest = fc.oneof(fc.uint8Array({ minLength: 16, maxLength: 16 }), fc.constant(new Uint8Array()));
const ms = fc.nat({ max: 4_000_000_000_000 });
const kind = fc.constantFrom('full' as const, 'incremental' as const);

const identity = fc.record({ fsid: fc.uuid(), image: spec, imageId: fc.stringMatching(/^[0-9a-f]{1,16}$/) });

const layout = fc
  .record({
    sizeBytes: bytes,
    order: fc.integer({ min: 12, max: 25 }),
    divide: fc.nat({ max: 12 }),
    stripeCount: fc.integer({ min: 1, max: 65_536 }),
    features: fc.array(fc.constantFrom('layering', 'exclusive-lock', 'object-map', 'fast-diff')),
    dataPool: fc.option(name),
  })
  .map(({ order, divide, ...rest }) => ({
    ...rest,
    objectSizeBytes: 2 ** order,
    stripeUnitBytes: 2 ** (order - divide),
  }));

const bytesOf = fc.uint8Array({ maxLength: 8 }).map((each) => Buffer.from(each));
const source: fc.Arbitrary<SourceFacts> = fc.record({
  identity,
  snapId: fc.maxSafeNat(),
  layout,
  metadata: fc.dictionary(
    fc.string().filter((key) => key !== '__proto__'),
    fc.string({ unit: 'grapheme' }),
    { noNullPrototype: true },
  ),
  binaryMetadata: fc.array(fc.record({ key: bytesOf, value: bytesOf })),
  metadataOmitted: fc.boolean(),
  parent: fc.option(fc.string({ minLength: 1 })),
});

const backup: fc.Arbitrary<Backup> = fc
  .record({
    id,
    kind,
    source: fc.option(source),
    sizeBytes: bytes,
    streamBytes: bytes,
    dataBytes: bytes,
    streamGmac: digest,
    committedAtMs: ms,
    baseId: fc.option(id.map((each) => each.id)),
    client: fc.option(fc.string({ minLength: 1 })),
    hold: fc.option(
      fc.record({
        untilMs: fc.option(fc.integer({ min: 1 })),
        reason: fc.string(),
        sinceMs: fc.nat(),
        client: fc.string(),
      }),
    ),
  })
  .map(({ id, ...rest }) => ({ ...rest, ...id }));

const chain: fc.Arbitrary<Chain> = fc.record({
  store: name,
  name: chainName,
  backups: fc.array(backup, { maxLength: 4 }),
  active: fc.boolean(),
  legacy: fc.boolean(),
  partial: fc.boolean(),
});

const usage: fc.Arbitrary<ChainUsage> = fc
  .record({
    store: name,
    chain: chainName,
    source: fc.option(identity),
    client: fc.option(name),
    active: fc.boolean(),
    legacy: fc.boolean(),
    backups: fc.array(
      fc.record({
        id: id.map((each): BackupId => each.id),
        kind,
        sizeBytes: bytes,
        streamBytes: bytes,
        addedBytes: bytes,
        committedAtMs: ms,
        source: fc.option(identity),
      }),
      { maxLength: 4 },
    ),
  })
  .map((usage) => ({
    ...usage,
    // One that says nothing of its own is of the chain's image: so it is read from an older release.
    backups: usage.backups.map((backup) => ({ ...backup, source: backup.source ?? usage.source })),
  }));

/** Byte arrays of whatever class, as plain numbers. */
const plain = (value: unknown): unknown =>
  JSON.parse(
    JSON.stringify(value, (_, each: unknown) => {
      if (typeof each === 'bigint') return `${each}n`;
      return each instanceof Uint8Array ? [...each] : each;
    }).replace(/\{"type":"Buffer","data":(\[[^\]]*\])\}/g, '$1'),
  );

describe('what goes over the wire and comes back is the same', () => {
  it('source facts', () => {
    fc.assert(
      fc.property(source, (facts) => {
        const sent = wire.SourceFacts.encode(sourceToWire(facts)).finish();
        expect(plain(sourceFromWire(wire.SourceFacts.decode(sent)))).toEqual(plain(facts));
      }),
    );
  });

  it('a chain with its backups', () => {
    fc.assert(
      fc.property(chain, (chain) => {
        const sent = wire.Chain.encode(chainToWire(chain)).finish();
        expect(plain(chainFromWire(wire.Chain.decode(sent)))).toEqual(plain(chain));
      }),
    );
  });

  it('what a chain takes up', () => {
    fc.assert(
      fc.property(usage, (usage) => {
        const sent = wire.ChainUsage.encode(usageToWire(usage)).finish();
        expect(plain(usageFromWire(wire.ChainUsage.decode(sent)))).toEqual(plain(usage));
      }),
    );
  });
});

const time = '2026-11-24.02:40:39.458883';
const goodSource: wire.SourceFacts = {
  identity: {
    fsid: '6f3e0a52-7b2c-4c39-9d2b-1c0b8f9f0a11',
    image: { pool: 'rbd', namespace: '', image: 'vm1' },
    imageId: '10ab22',
  },
  snapId: 4n,
  layout: {
    sizeBytes: 1n << 30n,
    objectSizeBytes: 4 << 20,
    stripeUnitBytes: 4n << 20n,
    stripeCount: 1,
    features: ['layering'],
    dataPool: '',
  },
  metadata: {},
  binaryMetadata: [],
  metadataOmitted: false,
  parent: '',
};
const goodBackup: wire.Backup = {
  id: `rbd2/vm1.${time}.bkp.image@${time}.snap`,
  kind: wire.BackupKind.FULL,
  source: goodSource,
  sizeBytes: 1n << 30n,
  streamBytes: 10n,
  dataBytes: 5n,
  streamGmac: Buffer.alloc(16),
  committedAtMs: 1n,
  baseId: '',
  client: 'agent1',
  hold: undefined,
};
const goodChain: wire.Chain = {
  store: 'rbd2',
  name: `vm1.${time}.bkp.image`,
  backups: [goodBackup],
  active: true,
  legacy: false,
  partial: false,
};

const codeOf = (step: () => unknown): string => {
  try {
    step();
  } catch (thrown) {
    if (thrown instanceof FerryError) return thrown.code;
    throw thrown;
  }
  return 'taken';
};

/** Names that are ambiguous or cannot be printed. */
const hostileNames = ['', 'a@b', 'a/b', '../b', 'a\nb', 'a\u0000b', 'a\u001b[31m', '\ud83d', 'x'.repeat(1901)];
/** Names that Ceph takes, and that are no store's. */
const oddNames = ['-x', '--conf', '..', 'a b', 'a;reboot', '$(reboot)', '`reboot`', 'вм1', '🚢', 'x'.repeat(201)];

it.each(oddNames)('an image, pool or namespace may be called %j', (odd) => {
  const spec = { pool: odd, namespace: odd, image: odd };
  expect(specFromWire(spec)).toEqual(spec);
  expect(chainNameFromWire(`${odd}.${time}.bkp.image`)).toBe(`${odd}.${time}.bkp.image`);
});

describe('a hostile or broken message is refused', () => {
  it.each(hostileNames)('an image, pool or namespace called %j', (bad) => {
    const good = { pool: 'rbd', namespace: 'ns', image: 'vm1' };
    expect(specFromWire(good)).toEqual(good);
    for (const key of ['pool', 'image', ...(bad === '' ? [] : (['namespace'] as const))])
      expect(
        codeOf(() => specFromWire({ ...good, [key]: bad })),
        key,
      ).toBe('INVALID_IMAGE_SPEC');
  });

  it('a pool that would be read as a pool with a namespace', () => {
    expect(codeOf(() => specFromWire({ pool: 'rbd/ns', namespace: '', image: 'vm1' }))).toBe('INVALID_IMAGE_SPEC');
    expect(codeOf(() => specFromWire({ pool: 'rbd', namespace: '', image: 'ns/vm1' }))).toBe('INVALID_IMAGE_SPEC');
  });

  it.each([...hostileNames, 'vm1', `vm1.${time}.bkp.imag`, `vm1.${time}.bkp.image\n`])('a chain called %j', (bad) => {
    expect(codeOf(() => chainNameFromWire(bad))).toBe('INVALID_REQUEST');
    expect(codeOf(() => chainFromWire({ ...goodChain, name: bad }))).toBe('INVALID_REQUEST');
  });

  it.each(hostileNames)('a chain of an image called %j', (bad) => {
    expect(codeOf(() => chainNameFromWire(`${bad}.${time}.bkp.image`))).toBe('INVALID_REQUEST');
    expect(codeOf(() => backupFromWire({ ...goodBackup, id: `rbd2/${bad}.${time}.bkp.image@${time}.snap` }))).toBe(
      'INVALID_BACKUP_ID',
    );
  });

  it.each([...hostileNames, ...oddNames])('a store called %j', (bad) => {
    expect(codeOf(() => chainFromWire({ ...goodChain, store: bad }))).toBe('INVALID_REQUEST');
  });

  it.each([
    '',
    'x',
    `${time}.snap\n`,
    `-${time}.snap`,
    `${time}.snap@x`,
    '2026-13-24.02:40:39.458883.snap',
    '2026-11-24.25:40:39.458883.snap',
    '9999-99-99.99:99:99.999999.snap',
  ])('a snapshot called %j', (bad) => {
    expect(codeOf(() => snapFromWire(bad))).toBe('INVALID_REQUEST');
  });

  it.each(['x', 'rbd2/vm1', `/vm1.${time}.bkp.image@${time}.snap`, `-s/vm1.${time}.bkp.image@${time}.snap`])(
    'a backup id %j',
    (bad) => {
      expect(codeOf(() => idFromWire(bad))).toBe('INVALID_BACKUP_ID');
      expect(codeOf(() => backupFromWire({ ...goodBackup, baseId: bad }))).toBe('INVALID_BACKUP_ID');
    },
  );

  const identityWith = (change: Partial<wire.SourceIdentity>) => ({
    ...goodSource,
    identity: { fsid: '', image: undefined, imageId: '', ...goodSource.identity, ...change },
  });
  const layoutWith = (change: Partial<wire.ImageLayout>): wire.SourceFacts =>
    goodSource.layout === undefined ? goodSource : { ...goodSource, layout: { ...goodSource.layout, ...change } };

  it.each<[string, wire.SourceFacts]>([
    ['without an identity', { ...goodSource, identity: undefined }],
    ['without a layout', { ...goodSource, layout: undefined }],
    ['without an image', identityWith({ image: undefined })],
    ['without an fsid', identityWith({ fsid: '' })],
    ['with an fsid that is none', identityWith({ fsid: 'x/y' })],
    ['with an endless fsid', identityWith({ fsid: 'a'.repeat(1_000_000) })],
    ['without an image id', identityWith({ imageId: '' })],
    ['with an image id that is none', identityWith({ imageId: '--all' })],
    ['with an endless image id', identityWith({ imageId: 'a'.repeat(1_000_000) })],
    ['with an endless parent', { ...goodSource, parent: 'p'.repeat(1_000_000) }],
    ['with a snapshot id beyond 53 bits', { ...goodSource, snapId: 2n ** 53n }],
    ['with the largest snapshot id', { ...goodSource, snapId: 2n ** 64n - 1n }],
    ['with a size beyond 53 bits', layoutWith({ sizeBytes: 2n ** 53n })],
    ['with the largest size', layoutWith({ sizeBytes: 2n ** 64n - 1n })],
    ['with an object size of nothing', layoutWith({ objectSizeBytes: 0 })],
    ['with tiny objects', layoutWith({ objectSizeBytes: 2048 })],
    ['with huge objects', layoutWith({ objectSizeBytes: 2 ** 32 - 1 })],
    [
      'with an object size that is no power of two',
      layoutWith({ objectSizeBytes: 5_000_000, stripeUnitBytes: 5_000_000n }),
    ],
    ['with a stripe unit of nothing', layoutWith({ stripeUnitBytes: 0n })],
    ['with a stripe unit larger than an object', layoutWith({ stripeUnitBytes: 8n << 20n })],
    ['with a stripe unit that does not divide an object', layoutWith({ stripeUnitBytes: 5000n })],
    ['with the largest stripe unit', layoutWith({ stripeUnitBytes: 2n ** 64n - 1n })],
    ['with no stripes', layoutWith({ stripeCount: 0 })],
    ['with as many stripes as fit into the field', layoutWith({ stripeCount: 2 ** 32 - 1 })],
    ['with a feature that is an option', layoutWith({ features: ['--conf=x'] })],
    ['with a feature of many words', layoutWith({ features: ['layering exclusive-lock'] })],
    ['with an empty feature', layoutWith({ features: [''] })],
    ['with very many features', layoutWith({ features: Array.from({ length: 1000 }, () => 'layering') })],
    ['with a data pool that is none', layoutWith({ dataPool: 'a/b' })],
  ])('source facts %s', (_, facts) => {
    expect(codeOf(() => sourceFromWire(goodSource))).toBe('taken');
    expect(codeOf(() => sourceFromWire(facts))).toBe('INVALID_REQUEST');
    expect(codeOf(() => backupFromWire({ ...goodBackup, source: facts }))).toBe('INVALID_REQUEST');
  });

  it.each<[string, Partial<wire.Backup>]>([
    ['of no kind', { kind: wire.BackupKind.UNSPECIFIED }],
    ['of a kind of the future', { kind: 7 as wire.BackupKind }],
    ['with a digest that is none', { streamGmac: Buffer.alloc(15) }],
    ['with an absurd size', { sizeBytes: 2n ** 64n - 1n }],
    ['with an absurd stream', { streamBytes: 2n ** 63n }],
    ['with absurd data', { dataBytes: 2n ** 63n }],
    ['from beyond time', { committedAtMs: 2n ** 63n - 1n }],
  ])('a backup %s', (_, change) => {
    expect(codeOf(() => backupFromWire(goodBackup))).toBe('taken');
    expect(codeOf(() => backupFromWire({ ...goodBackup, ...change }))).toBe('INVALID_REQUEST');
  });

  it('a chain with one broken backup', () => {
    expect(codeOf(() => chainFromWire(goodChain))).toBe('taken');
    expect(codeOf(() => chainFromWire({ ...goodChain, backups: [goodBackup, { ...goodBackup, id: '' }] }))).toBe(
      'INVALID_BACKUP_ID',
    );
  });

  it('a field that is missing, by its name', () => {
    expect(() => requireField(undefined, 'backup')).toThrow('the message lacks its backup');
    expect(requireField(0, 'x')).toBe(0);
  });

  it('whatever bytes come: a FerryError, or a value', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        let message: wire.Chain;
        try {
          message = wire.Chain.decode(bytes);
        } catch {
          return;
        }
        codeOf(() => chainFromWire(message));
      }),
    );
  });
});

describe('a backup of the older tool', () => {
  it('has no source, digest or client', () => {
    const legacy = { ...backupFromWire(goodBackup), source: null, client: null, streamGmac: new Uint8Array() };
    expect(plain(backupFromWire(wire.Backup.decode(wire.Backup.encode(backupToWire(legacy)).finish())))).toEqual(
      plain(legacy),
    );
  });
});
