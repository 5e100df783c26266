import type { Cluster } from './cluster.js';
import { runCommand } from './command.js';

const le32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};

const le64 = (value: number): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
};

const padded = (text: string, size: number): Buffer => Buffer.concat([Buffer.from(text)], size);

/**
 * Makes an image of format 1, the only one of its pool, as Ceph did by default until 2016 (`rbd_obj_header_ondisk`). Today's `rbd` reads and
 * writes such images, and makes none.
 */
export const makeFormat1Image = async (
  cluster: Cluster,
  { pool, name, sizeBytes }: { readonly pool: string; readonly name: string; readonly sizeBytes: number },
): Promise<void> => {
  const put = (object: string, input: Uint8Array) =>
    runCommand('rados', [...cluster.connectArgs(), '--pool', pool, 'put', object, '-'], { input });
  const order = 22;
  const header = [
    padded('<<< Rados Block Device Image >>>\n', 40),
    padded('rb.0.1234.5678abcd', 24),
    padded('RBD', 4),
    padded('001.005', 8),
    Buffer.of(order, 0, 0, 0),
    le64(sizeBytes),
    // No snapshots: the last id, how many, a reserved word, the bytes of their names.
    le64(0),
    le32(0),
    le32(0),
    le64(0),
  ];
  await put(`${name}.rbd`, Buffer.concat(header));
  const key = Buffer.from(name);
  await put('rbd_directory', Buffer.concat([le32(0), le32(1), le32(key.length), key, le32(0)]));
};
