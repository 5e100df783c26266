import { describe, expect, it } from 'vitest';
import { parseOmapMetadata } from './omap-metadata.js';

/** What `rados listomapvals rbd_header.ID` prints on 16.2.15. */
const output = `features
value (8 bytes) :
00000000  3d 00 00 00 00 00 00 00                           |=.......|
00000008

metadata_k
value (1 bytes) :
00000000  76                                                |v|
00000001

key (15 bytes):
00000000  6d 65 74 61 64 61 74 61  5f 6b 20 32 2f c3 bc     |metadata_k 2/..|
0000000f

value (12 bytes) :
00000000  7b 22 61 22 3a 22 c3 bc  20 78 22 7d              |{"a":".. x"}|
0000000c

object_prefix
value (25 bytes) :
00000000  15 00 00 00 72 62 64 5f  64 61 74 61 2e 31 63 39  |....rbd_data.1c9|
00000010  63 32 66 39 31 39 31 63  61                       |c2f9191ca|
00000019

`;

const entry = (key: string, value: string) => ({ key: Buffer.from(key), value: Buffer.from(value) });

describe('the metadata in a header object', () => {
  it('is found among what else is there, whatever its keys look like', () => {
    expect(parseOmapMetadata(output)).toEqual([entry('k', 'v'), entry('k 2/ü', '{"a":"ü x"}')]);
  });

  it('may be empty, or no text at all', () => {
    const odd = `metadata_
value (0 bytes) :

metadata_value (3 bytes) :
value (3 bytes) :
00000000  61 00 ff                                          |a..|
00000003

key (12 bytes):
00000000  6d 65 74 61 64 61 74 61  5f 6b ff 6b              |metadata_k.k|
0000000c

value (0 bytes) :
`;
    expect(parseOmapMetadata(odd)).toEqual([
      entry('', ''),
      { key: Buffer.from('value (3 bytes) :'), value: Buffer.of(0x61, 0, 0xff) },
      { key: Buffer.of(0x6b, 0xff, 0x6b), value: Buffer.of() },
    ]);
  });

  it('may be none', () => {
    expect(parseOmapMetadata('')).toEqual([]);
  });

  it('may repeat itself', () => {
    const zeroes = '00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00';
    const dump = (size: number, rows: string[]) =>
      `metadata_k\nvalue (${size} bytes) :\n${rows.join('\n')}\n${size.toString(16).padStart(8, '0')}\n\n`;
    const inside = dump(49, [
      `00000000  ${zeroes}  |................|`,
      '*',
      '00000030  76                                                |v|',
    ]);
    expect(parseOmapMetadata(inside)).toEqual([entry('k', `${'\0'.repeat(48)}v`)]);
    const atTheEnd = dump(64, [`00000000  ${zeroes}  |................|`, '*']);
    expect(parseOmapMetadata(atTheEnd)).toEqual([entry('k', '\0'.repeat(64))]);
  });

  it.each(['metadata_k\n', 'metadata_k\nvalue (1 bytes) :\noops', output.slice(0, 300)])(
    'is refused when it is cut: %#',
    (text) => {
      expect(() => parseOmapMetadata(text)).toThrow(expect.objectContaining({ code: 'CEPH_FAILED' }));
    },
  );
});
