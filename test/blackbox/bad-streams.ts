import {
  commitOf,
  compressed,
  cut,
  header,
  headRecords,
  imageBytes,
  MiB,
  some,
  streamOf,
  type Snaps,
} from './backup-streams.js';
import * as diff from './diff-v1.js';
import type { Message } from './wire.js';
import * as zstd from './zstd.js';

/** What somebody might send. `snaps` are the right names; the transfer is open. */
export interface BadStream {
  readonly name: string;
  readonly code: string;
  readonly status: string;
  readonly messages: (snaps: Snaps, opened: { readonly transferId: string }) => Message[];
  readonly ending?: 'cancel';
}

const dataLoss = 'DATA_LOSS';
const whole = (stream: Buffer, { transferId }: { readonly transferId: string }): Message[] => [
  header(transferId),
  ...cut(stream),
  commitOf(stream),
];

/** A stream with one thing wrong in its records, honestly counted and digested. */
const malformed = (name: string, records: (snaps: Snaps) => Buffer[], code = 'STREAM_INVALID'): BadStream => ({
  name,
  code,
  status: dataLoss,
  messages: (snaps, opened) => whole(Buffer.concat(records(snaps)), opened),
});

/** A good stream but for one compressed part. */
const badPart = (name: string, part: (content: Buffer) => Message, code = 'STREAM_INVALID'): BadStream => ({
  name: `has a compressed part that ${name}`,
  code,
  status: dataLoss,
  messages: (snaps, { transferId }) => {
    const stream = streamOf(snaps, diff.data(0, some));
    const [before, content, after] = [
      stream.subarray(0, 5000),
      stream.subarray(5000, 200_000),
      stream.subarray(200_000),
    ];
    return [header(transferId), { data: before }, part(content), { data: after }, commitOf(stream)];
  },
});

export const badStreams: BadStream[] = [
  badPart('is no frame', (content) => compressed(content, { frame: content })),
  badPart('is empty', () => ({ zstd: { frame: Buffer.alloc(0), contentBytes: 0 } })),
  badPart('is cut', (content) => compressed(content, { frame: zstd.stored(content).subarray(0, -1) })),
  badPart('has something behind it', (content) =>
    compressed(content, { frame: Buffer.concat([zstd.stored(content), Buffer.of(0)]) }),
  ),
  badPart('is two frames', (content) =>
    compressed(content, { frame: Buffer.concat([zstd.stored(content), zstd.stored(content)]) }),
  ),
  badPart('announces a byte less', (content) => compressed(content, { contentBytes: content.length - 1 })),
  badPart('announces a byte more', (content) => compressed(content, { contentBytes: content.length + 1 })),
  badPart('announces four gigabytes', (content) => compressed(content, { contentBytes: 4_294_967_295 })),
  badPart('is five megabytes', () => compressed(Buffer.alloc(5 * MiB))),
  badPart('is a bomb', () => ({ zstd: { frame: zstd.zeroes(512 * MiB), contentBytes: MiB } })),
  badPart('is a bomb, and says so', () => ({ zstd: { frame: zstd.zeroes(512 * MiB), contentBytes: 512 * MiB } })),
  badPart(
    'was changed by one bit',
    (content) => {
      const changed = Buffer.from(content);
      changed.writeUInt8(changed.readUInt8(99_999) ^ 1, 99_999);
      return compressed(changed);
    },
    'DIGEST_MISMATCH',
  ),
  {
    name: 'is malformed inside of a compressed part',
    code: 'STREAM_INVALID',
    status: dataLoss,
    messages: (snaps, { transferId }) => {
      const stream = Buffer.concat([...headRecords(snaps), Buffer.from('x'), diff.end]);
      return [header(transferId), compressed(stream), commitOf(stream)];
    },
  },
  {
    name: 'ends in the middle of its data, without a commit',
    code: 'STREAM_TRUNCATED',
    status: dataLoss,
    messages: (snaps, { transferId }) => [
      header(transferId),
      ...cut(streamOf(snaps, diff.data(0, some)).subarray(0, 200_000)),
    ],
  },
  {
    name: 'is whole, and ends without a commit',
    code: 'STREAM_TRUNCATED',
    status: dataLoss,
    messages: (snaps, { transferId }) => [header(transferId), ...cut(streamOf(snaps, diff.data(0, some)))],
  },
  {
    name: 'is cancelled in the middle',
    code: '',
    status: 'CANCELLED',
    messages: (snaps, { transferId }) => [
      header(transferId),
      ...cut(streamOf(snaps, diff.data(0, some)).subarray(0, 200_000)),
    ],
    ending: 'cancel',
  },
  {
    name: 'is cancelled when it is whole, before the commit',
    code: '',
    status: 'CANCELLED',
    messages: (snaps, { transferId }) => [header(transferId), ...cut(streamOf(snaps, diff.data(0, some)))],
    ending: 'cancel',
  },
  {
    name: 'has nothing but a header',
    code: 'STREAM_TRUNCATED',
    status: dataLoss,
    messages: (_, { transferId }) => [header(transferId)],
  },
  {
    name: 'commits nothing',
    code: 'STREAM_TRUNCATED',
    status: dataLoss,
    messages: (_, opened) => whole(Buffer.alloc(0), opened),
  },
  {
    name: 'has a wrong digest',
    code: 'DIGEST_MISMATCH',
    status: dataLoss,
    messages: (snaps, { transferId }) => {
      const stream = streamOf(snaps, diff.data(0, some));
      const commit = { streamBytes: String(stream.length), streamGmac: diff.gmac(Buffer.from('something else')) };
      return [header(transferId), ...cut(stream), { commit }];
    },
  },
  {
    name: 'has a wrong count',
    code: 'DIGEST_MISMATCH',
    status: dataLoss,
    messages: (snaps, { transferId }) => {
      const stream = streamOf(snaps, diff.data(0, some));
      const commit = { streamBytes: String(stream.length + 1), streamGmac: diff.gmac(stream) };
      return [header(transferId), ...cut(stream), { commit }];
    },
  },
  {
    name: 'has no count and no digest',
    code: 'DIGEST_MISMATCH',
    status: dataLoss,
    messages: (snaps, { transferId }) => [
      header(transferId),
      ...cut(streamOf(snaps, diff.data(0, some))),
      { commit: {} },
    ],
  },
  {
    name: 'was changed on the way by one bit of its data',
    code: 'DIGEST_MISMATCH',
    status: dataLoss,
    messages: (snaps, { transferId }) => {
      const stream = streamOf(snaps, diff.data(0, some));
      const changed = Buffer.from(stream);
      changed.writeUInt8(changed.readUInt8(150_000) ^ 1, 150_000);
      return [header(transferId), ...cut(changed), commitOf(stream)];
    },
  },
  {
    name: 'has its header twice',
    code: 'INVALID_REQUEST',
    status: 'INVALID_ARGUMENT',
    messages: (snaps, { transferId }) => {
      const stream = streamOf(snaps, diff.data(0, some));
      return [header(transferId), header(transferId), ...cut(stream), commitOf(stream)];
    },
  },
  {
    name: 'has an empty message in it',
    code: 'INVALID_REQUEST',
    status: 'INVALID_ARGUMENT',
    messages: (snaps, { transferId }) => [header(transferId), ...cut(streamOf(snaps, diff.data(0, some))), {}],
  },
  {
    name: 'has a message above the limit',
    code: '',
    status: 'RESOURCE_EXHAUSTED',
    messages: (snaps, { transferId }) => [
      header(transferId),
      ...cut(streamOf(snaps)),
      { data: Buffer.alloc(20 * MiB) },
    ],
  },
  malformed('lacks its end record', (snaps) => [...headRecords(snaps), diff.data(0, some)], 'STREAM_TRUNCATED'),
  malformed(
    'lacks the end of an extent',
    (snaps) => [...headRecords(snaps), diff.data(0, some).subarray(0, -9)],
    'STREAM_TRUNCATED',
  ),
  malformed('has another banner', () => [Buffer.from('rbd diff v2\n'), diff.end]),
  malformed('has an unknown tag', (snaps) => [...headRecords(snaps), diff.data(0, some), Buffer.from('x'), diff.end]),
  malformed('has an extent past the size', (snaps) => [
    ...headRecords(snaps),
    diff.data(imageBytes - 10, some),
    diff.end,
  ]),
  malformed('has zeroes past the size', (snaps) => [...headRecords(snaps), diff.zero(0, imageBytes + 1), diff.end]),
  malformed('has an absurd length', (snaps) => [...headRecords(snaps), diff.dataHeader(0, 2n ** 60n), some, diff.end]),
  malformed('has the largest length', (snaps) => [
    ...headRecords(snaps),
    diff.dataHeader(0, 2n ** 64n - 1n),
    some,
    diff.end,
  ]),
  malformed('has an absurd offset', (snaps) => [...headRecords(snaps), diff.dataHeader(2n ** 63n, 10), some, diff.end]),
  malformed('has zeroes of an absurd length', (snaps) => [...headRecords(snaps), diff.zero(0, 2n ** 63n), diff.end]),
  malformed('has an absurd size', (snaps) => [...headRecords(snaps, 2n ** 62n), diff.end]),
  malformed('has another size', (snaps) => [...headRecords(snaps, imageBytes * 2), diff.end]),
  malformed('has no size', (snaps) => [...headRecords(snaps).slice(0, -1), diff.data(0, some), diff.end]),
  malformed('has a name of four gigabytes', () => [
    diff.banner,
    Buffer.from('t\u00ff\u00ff\u00ff\u00ff', 'latin1'),
    some,
    diff.end,
  ]),
  malformed('makes another snapshot', ({ from }) => [
    ...headRecords({ from, to: '2026-11-11.11:11:11.111111.snap' }),
    diff.end,
  ]),
  malformed('makes no snapshot', ({ from }) => [
    diff.banner,
    ...(from === null ? [] : [diff.fromSnap(from)]),
    diff.size(imageBytes),
    diff.data(0, some),
    diff.end,
  ]),
  malformed('starts from another snapshot', ({ to }) => [
    ...headRecords({ from: '2026-11-11.11:11:11.111111.snap', to }),
    diff.end,
  ]),
  malformed('has an extent twice', (snaps) => [
    ...headRecords(snaps),
    diff.data(0, some),
    diff.data(0, some),
    diff.end,
  ]),
  malformed('has its extents out of order', (snaps) => [
    ...headRecords(snaps),
    diff.data(MiB, some),
    diff.data(0, some),
    diff.end,
  ]),
  malformed('has bytes behind its end', (snaps) => [...headRecords(snaps), diff.data(0, some), diff.end, some]),
  malformed('has a second end', (snaps) => [...headRecords(snaps), diff.data(0, some), diff.end, diff.end]),
];
