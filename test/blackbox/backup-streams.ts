import { randomBytes } from '../ceph/image-content.js';
import * as diff from './diff-v1.js';
import type { Message } from './wire.js';
import * as zstd from './zstd.js';

/** Backups of a small image, as somebody else's program sends them: what it tells of the image, and streams cut into messages. */

const KiB = 1024;
export const MiB = 1024 * KiB;
export const imageBytes = 2 * MiB;

/** Names of the snapshots that a stream starts from (null for a full) and makes. */
export interface Snaps {
  readonly from: string | null;
  readonly to: string;
}

let clock = Date.UTC(2026, 0, 1);
/** A time that no other backup has, as in the names of snapshots. */
export const nextTime = (): string => {
  clock += 1000;
  return `${new Date(clock).toISOString().slice(0, 23).replace('T', '.')}000`;
};

export const identity = (image: string) => ({
  fsid: '6f3e0a52-7b2c-4c39-9d2b-1c0b8f9f0a11',
  image: { pool: 'rbd', namespace: '', image },
  imageId: '10ab22',
});

export const facts = (image = 'vm1', change: Message = {}): Message => ({
  identity: identity(image),
  snapId: '4',
  layout: {
    sizeBytes: String(imageBytes),
    objectSizeBytes: 4 * MiB,
    stripeUnitBytes: String(4 * MiB),
    stripeCount: 1,
    features: ['layering', 'exclusive-lock'],
    dataPool: '',
  },
  metadata: { owner: 'ö "quoted"' },
  ...change,
});

export const header = (transferId: string): Message => ({ header: { transferId } });
export const commitOf = (stream: Buffer): Message => ({
  commit: { streamBytes: String(stream.length), streamGmac: diff.gmac(stream) },
});

/** The stream in messages of this many bytes. */
export const cut = (stream: Buffer, bytes = MiB): Message[] =>
  Array.from({ length: Math.ceil(stream.length / bytes) }, (_, index) => ({
    data: stream.subarray(index * bytes, (index + 1) * bytes),
  }));

/** The content as one compressed part. */
export const compressed = (content: Buffer, change: Message = {}): Message => ({
  zstd: { frame: zstd.stored(content), contentBytes: content.length, ...change },
});

/** Banner and header of a stream, in its records. */
export const headRecords = ({ from, to }: Snaps, sizeBytes: bigint | number = imageBytes): Buffer[] => [
  diff.banner,
  ...(from === null ? [] : [diff.fromSnap(from)]),
  diff.toSnap(to),
  diff.size(sizeBytes),
];

export const streamOf = (snaps: Snaps, ...records: Buffer[]): Buffer =>
  Buffer.concat([...headRecords(snaps), ...records, diff.end]);

export const some = randomBytes('some', 300_000);
export const tail = randomBytes('tail', 100_000);
const body = randomBytes('full', 600_000);

/** How many bytes of data a full has. */
export const fullDataBytes = body.length + tail.length;

/** The content that {@link fullRecords} make. */
export const fullContent = (): Buffer => {
  const content = Buffer.alloc(imageBytes);
  body.copy(content, 1000);
  tail.copy(content, imageBytes - tail.length);
  return content;
};

export const fullRecords = (): Buffer[] => [diff.data(1000, body), diff.data(imageBytes - tail.length, tail)];

export const chainOf = (id: string): string => id.slice(id.indexOf('/') + 1, id.indexOf('@'));
export const snapOf = (id: string): string => id.slice(id.indexOf('@') + 1);
/** SHA-256 in hex. */
export const hash = (content: Buffer): string => diff.sha256(content).toString('hex');
