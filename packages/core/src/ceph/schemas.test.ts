import { describe, expect, it } from 'vitest';
import {
  infoSchema,
  listingSchema,
  liveImportSchema,
  metadataIn,
  parseAnswer,
  parseFsid,
  snapshotsSchema,
  watchersSchema,
} from './schemas.js';

/** Answers of rbd 16.2.15. */
const plainInfo =
  '{"name":"a","id":"102a5abff53c","size":1000,"objects":1,"order":22,"object_size":4194304,"snapshot_count":0,"block_name_prefix":"rbd_data.102a5abff53c","format":2,"features":["layering","exclusive-lock"],"op_features":[],"flags":[],"create_timestamp":"Tue Nov 24 02:26:43 2026"}';
const stripedInfo =
  '{"name":"o2","id":"1038f1b2d1e8","size":5000000,"objects":80,"order":16,"object_size":65536,"data_pool":"ec","format":2,"features":["striping","data-pool"],"op_features":[],"flags":[],"stripe_unit":4096,"stripe_count":4}';
const cloneInfo =
  '{"name":"child","id":"10f5127881b0","size":8388608,"object_size":4194304,"features":["layering","operations"],"op_features":["clone-child"],"parent":{"pool":"rbd","pool_namespace":"ns","image":"par","id":"10f167a4f9e2","snapshot":"p","trash":false,"overlap":8388608}}';

describe('rbd info', () => {
  it('reads an image that is not striped', () => {
    expect(parseAnswer(infoSchema, plainInfo, 'x')).toEqual({
      id: '102a5abff53c',
      name: 'a',
      format: 2,
      sizeBytes: 1000n,
      objectSizeBytes: 4194304,
      stripeUnitBytes: 4194304,
      stripeCount: 1,
      features: ['exclusive-lock', 'layering'],
      dataPool: null,
      parent: null,
      hasClones: false,
      group: null,
      mirroring: null,
    });
  });

  it('reads stripes and the data pool', () => {
    expect(parseAnswer(infoSchema, stripedInfo, 'x')).toMatchObject({
      stripeUnitBytes: 4096,
      stripeCount: 4,
      objectSizeBytes: 65536,
      dataPool: 'ec',
    });
  });

  it('reads an image of format 1, which has neither id nor features', () => {
    const answer =
      '{"name":"f1","id":"","size":16777216,"objects":4,"order":22,"object_size":4194304,"snapshot_count":0,"block_name_prefix":"rb.0.1234.5678abcd","format":1}';
    expect(parseAnswer(infoSchema, answer, 'x')).toMatchObject({ id: '', format: 1, features: [], dataPool: null });
  });

  it('reads who else counts on it', () => {
    const of = (rest: string) => parseAnswer(infoSchema, plainInfo.replace('{', `{${rest},`), 'x');
    expect(of('"group":"rbd/g1"').group).toBe('rbd/g1');
    expect(of('"mirroring":{"mode":"journal","state":"disabled"}').mirroring).toBeNull();
    const mirrored = (primary: boolean) => of(`"mirroring":{"mode":"journal","state":"enabled","primary":${primary}}`);
    expect(mirrored(true).mirroring).toEqual({ primary: true });
    expect(mirrored(false).mirroring).toEqual({ primary: false });
  });

  it('reads the parent of a clone', () => {
    expect(parseAnswer(infoSchema, cloneInfo, 'x').parent).toEqual({
      pool: 'rbd',
      namespace: 'ns',
      image: 'par',
      imageId: '10f167a4f9e2',
      snap: 'p',
    });
  });
});

it('reads snapshots, oldest first, with truth values as text or not', () => {
  const answer =
    '[{"id":7,"name":"b","size":5242880,"protected":"true","timestamp":"Tue Nov 24 02:31:48 2026"},{"id":4,"name":"a","size":1,"protected":false}]';
  expect(parseAnswer(snapshotsSchema, answer, 'x')).toEqual([
    { id: 4, name: 'a', sizeBytes: 1n, protected: false },
    { id: 7, name: 'b', sizeBytes: 5242880n, protected: true },
  ]);
});

it('gathers the rows of rbd ls -l by image', () => {
  const answer =
    '[{"image":"a","id":"102a","size":1000,"format":2},{"image":"a","id":"102a","snapshot":"s1","snapshot_id":4,"size":900,"format":2,"protected":"false"},{"image":"z","id":"102e","size":0,"format":2,"lock_type":"exclusive"}]';
  expect(parseAnswer(listingSchema, answer, 'x')).toEqual([
    { name: 'a', id: '102a', snapshots: [{ id: 4, name: 's1', sizeBytes: 900n, protected: false }] },
    { name: 'z', id: '102e', snapshots: [] },
  ]);
});

it('tells a live import from other migrations', () => {
  const importing =
    '{"watchers":[],"migration":{"source_spec":"{}","dest_pool_name":"rbd","dest_pool_namespace":"","dest_image_name":"live","dest_image_id":"121d","state":"prepared","state_description":""}}';
  const migrating = importing.replace('"source_spec":"{}"', '"source_pool_name":"other"');
  expect(parseAnswer(liveImportSchema, importing, 'x')).toBe(true);
  expect(parseAnswer(liveImportSchema, migrating, 'x')).toBe(false);
  expect(parseAnswer(liveImportSchema, '{"watchers":[]}', 'x')).toBe(false);
});

it('keeps metadata as it is', () => {
  const answer = String.raw`{"k":"v","7":"line\n\"q\" ü"}`;
  expect(metadataIn(answer)).toEqual(
    new Map([
      ['7', 'line\n"q" ü'],
      ['k', 'v'],
    ]),
  );
  // Keys are printed as they are.
  expect(metadataIn('{"k"":"v"}')).toBeUndefined();
  expect(metadataIn('{"k\n":"v"}')).toBeUndefined();
});

it('reads the addresses of watchers', () => {
  const answer = '{"watchers":[{"address":"127.0.0.1:0/1388653480","client":4212,"cookie":140123308049872}]}';
  expect(parseAnswer(watchersSchema, answer, 'x')).toEqual(['127.0.0.1:0/1388653480']);
});

it('reads the fsid and nothing else', () => {
  expect(parseFsid('db68cf53-3525-4204-8f1b-ea2c36610fec\n')).toBe('db68cf53-3525-4204-8f1b-ea2c36610fec');
  expect(() => parseFsid('')).toThrow(expect.objectContaining({ code: 'CEPH_FAILED' }));
});

describe('an answer that is not what we know', () => {
  it.each(['', 'rbd: oops', '{"id":""}', '{"id":"1","size":-1,"object_size":1,"features":[]}'])(
    '%j is refused',
    (text) => {
      expect(() => parseAnswer(infoSchema, text, 'read image "rbd/a"')).toThrow(
        expect.objectContaining({ code: 'CEPH_FAILED', message: expect.stringContaining('cannot read image "rbd/a"') }),
      );
    },
  );

  it('refuses a size that a number cannot hold exactly', () => {
    const huge = plainInfo.replace('"size":1000', '"size":9007199254740993');
    expect(() => parseAnswer(infoSchema, huge, 'x')).toThrow(expect.objectContaining({ code: 'CEPH_FAILED' }));
  });
});
