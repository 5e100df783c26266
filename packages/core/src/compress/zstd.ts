import * as zlib from 'node:zlib';

/** zstd, wherever it comes from: each call makes, or reads, one whole frame. Runs on the thread pool. */
export interface Zstd {
  /** Where it comes from, for logs. */
  readonly from: string;
  /** The content must not change meanwhile. */
  compress(content: Uint8Array): Promise<Buffer>;
  /** Only for frames that were looked at: what comes out is bounded by them alone. Rejects on what is no frame. */
  decompress(frame: Uint8Array): Promise<Buffer>;
}

/** The quickest of the regular levels: a backup must not wait for its compression. */
const level = 1;

let found: Promise<Zstd | null> | undefined;

/** Node's own zstd (22.15 and newer), or else the optional package's; null without either. */
export const findZstd = (): Promise<Zstd | null> => (found ??= lookForZstd());

const lookForZstd = async (): Promise<Zstd | null> => nodeZstd() ?? (await packageZstd());

type OneShot = (input: Uint8Array, options: object, done: (error: Error | null, output: Buffer) => void) => void;

/** Not known to the types of the oldest Node that we support. */
const nodeZstd = (): Zstd | null => {
  const compress: unknown = Reflect.get(zlib, 'zstdCompress');
  const decompress: unknown = Reflect.get(zlib, 'zstdDecompress');
  const levelKey: unknown = Reflect.get(zlib.constants, 'ZSTD_c_compressionLevel');
  if (typeof compress !== 'function' || typeof decompress !== 'function' || typeof levelKey !== 'number') return null;
  return {
    from: `node ${process.versions.node}`,
    compress: (content) => promised(compress as OneShot, content, { params: { [levelKey]: level } }),
    decompress: (frame) => promised(decompress as OneShot, frame, {}),
  };
};

const promised = (run: OneShot, input: Uint8Array, options: object): Promise<Buffer> =>
  new Promise((resolve, reject) => {
    run(input, options, (error, output) => {
      if (error === null) resolve(output);
      else reject(error);
    });
  });

const packageZstd = async (): Promise<Zstd | null> => {
  try {
    const { Encoder, Decoder } = await import('@toondepauw/node-zstd');
    const [encoder, decoder] = [new Encoder(level), new Decoder()];
    return {
      from: '@toondepauw/node-zstd',
      compress: (content) => encoder.encode(asBuffer(content)),
      decompress: (frame) => decoder.decode(asBuffer(frame)),
    };
  } catch {
    // Not installed, or made for other machines.
    return null;
  }
};

const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
