import { FerryError } from '../errors/ferry-error.js';
import type { MetadataEntry } from '../model/image-meta.js';

const metadataPrefix = Buffer.from('metadata_');
const namedKey = /^key \((\d+) bytes\) ?:$/;
const valueHead = /^value \((\d+) bytes\) :$/;
const row = /^([0-9a-f]{8}) {2}((?:[0-9a-f]{2} {1,2}){1,16})/;

/**
 * The image-meta in an image's header object, as `rados listomapvals` prints it: keys as text or, when they are not plain ASCII,
 * like the values as a hex dump. Librbd keeps image-meta there, key by key, behind `metadata_`.
 *
 * @throws CEPH_FAILED when the output is something else
 */
export const parseOmapMetadata = (text: string): MetadataEntry[] => {
  const found: MetadataEntry[] = [];
  const lines = new Lines(text);
  for (let line = lines.nextFilled(); line !== undefined; line = lines.nextFilled()) {
    const size = namedKey.exec(line)?.[1];
    const key = size === undefined ? Buffer.from(line) : lines.dump(Number(size));
    const valueSize = valueHead.exec(lines.nextFilled() ?? '')?.[1];
    if (valueSize === undefined) throw unexpected(line);
    const value = lines.dump(Number(valueSize));
    const isMetadata = key.subarray(0, metadataPrefix.length).equals(metadataPrefix);
    if (isMetadata) found.push({ key: key.subarray(metadataPrefix.length), value });
  }
  return found;
};

class Lines {
  readonly #lines: readonly string[];
  #at = 0;

  constructor(text: string) {
    this.#lines = text.split('\n');
  }

  next(): string | undefined {
    const line = this.#lines[this.#at];
    this.#at += 1;
    return line;
  }

  nextFilled(): string | undefined {
    let line = this.next();
    while (line === '') line = this.next();
    return line;
  }

  /** Reads a hex dump of this many bytes, which ends with a row that holds the size alone; of none there is no dump. */
  dump(sizeBytes: number): Buffer {
    if (sizeBytes === 0) return Buffer.alloc(0);
    const bytes = Buffer.alloc(sizeBytes);
    const last = sizeBytes.toString(16).padStart(8, '0');
    let filled = 0;
    let repeated = '';
    for (let line = this.next(); line !== last; line = this.next()) {
      if (line === '*') continue;
      const [, offset, hex] = row.exec(line ?? '') ?? [];
      if (offset === undefined || hex === undefined) throw unexpected(line ?? 'the end');
      // `*` stands for more rows like the one before.
      while (repeated !== '' && filled < Number.parseInt(offset, 16)) filled += bytes.write(repeated, filled, 'hex');
      repeated = hex.replaceAll(' ', '');
      filled += bytes.write(repeated, filled, 'hex');
    }
    while (repeated !== '' && filled < sizeBytes) filled += bytes.write(repeated, filled, 'hex');
    return bytes;
  }
}

const unexpected = (line: string): FerryError =>
  new FerryError(
    'CEPH_FAILED',
    `rados listomapvals answered something unexpected: ${JSON.stringify(line.slice(0, 100))}`,
  );
