/** One entry of an image's metadata as librbd keeps it: any bytes, of the key as of the value, and the value may be empty. */
export interface MetadataEntry {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

/** Image-meta as it is kept with a backup: what is text, and the entries that are not. */
export interface SplitMetadata {
  readonly metadata: Readonly<Record<string, string>>;
  readonly binaryMetadata: readonly MetadataEntry[];
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The bytes as text, or undefined when they are no UTF-8. */
export const textOf = (bytes: Uint8Array): string | undefined => {
  try {
    return utf8.decode(bytes);
  } catch {
    return undefined;
  }
};

/** The one key that a JavaScript object, and so a map of the wire, cannot hold like any other. */
const unkeepable = '__proto__';

/** @param isOurs says which keys rbdferry wrote itself: they are left out */
export const splitMetadata = (entries: readonly MetadataEntry[], isOurs: (key: string) => boolean): SplitMetadata => {
  const metadata: Record<string, string> = {};
  const binaryMetadata: MetadataEntry[] = [];
  for (const entry of entries) {
    const [key, value] = [textOf(entry.key), textOf(entry.value)];
    if (key !== undefined && isOurs(key)) continue;
    if (key === undefined || value === undefined || key === unkeepable) binaryMetadata.push(entry);
    else metadata[key] = value;
  }
  return { metadata, binaryMetadata };
};

/** All entries again, the binary ones last. */
export const joinMetadata = ({ metadata, binaryMetadata }: SplitMetadata): MetadataEntry[] => [
  ...Object.entries(metadata).map(([key, value]) => ({ key: Buffer.from(key), value: Buffer.from(value) })),
  ...binaryMetadata,
];

/** Leaves all of it out when it takes more than so many bytes: the bytes of the disk matter more. */
export const fitMetadata = (split: SplitMetadata, maxBytes: number): SplitMetadata & { metadataOmitted: boolean } => {
  const texts = Object.entries(split.metadata)
    .flat()
    .map((text) => Buffer.byteLength(JSON.stringify(text)));
  const binary = split.binaryMetadata.map(({ key, value }) => base64Bytes(key) + base64Bytes(value) + entryBytes);
  const bytes = [...texts, ...binary].reduce((sum, each) => sum + each, 0);
  return bytes <= maxBytes
    ? { ...split, metadataOmitted: false }
    : { metadata: {}, binaryMetadata: [], metadataOmitted: true };
};

const base64Bytes = (bytes: Uint8Array): number => Math.ceil(bytes.length / 3) * 4;
/** What an entry that is no text takes in JSON beside its key and its value. */
const entryBytes = 24;

/** What a backup keeps of an image's metadata: it must fit, with the rest of the facts (long names are), into one value of 120 kB. */
export const maxKeptMetadataBytes = 100_000;
