import type { CompressionMode } from '@rbdferry/core/compress/compress.js';
import { decompressPart } from '@rbdferry/core/compress/decompress.js';
import type { Zstd } from '@rbdferry/core/compress/zstd.js';
import { Compression, type CompressedData, type PullResponse } from '@rbdferry/core/gen/rbdferry/v1/transfer.js';
import { zstdCapability } from '@rbdferry/core/rpc/protocol.js';
import { Lease } from '@rbdferry/core/transfer/lease.js';
import { mapSomeAhead } from '@rbdferry/core/transfer/map-ahead.js';
import type { Piece } from '@rbdferry/core/transfer/piece.js';
import type { ReceiverConfig } from '../config.js';

/** Whether a transfer is compressed, as both sides agreed. */
export type AgreedCompression =
  | { readonly kind: 'none' }
  | { readonly kind: 'zstd'; readonly zstd: Zstd; readonly mode: CompressionMode }
  /** It was asked for, and one of the two cannot. */
  | { readonly kind: 'impossible'; readonly why: string };

/** What a receiver said of itself in the handshake. */
interface Said {
  /** For messages. */
  readonly who: string;
  readonly software: string;
  readonly capabilities: readonly string[];
}

/** @param zstd this agent's own; null where there is none */
export const agreeOnCompression = (
  wanted: ReceiverConfig['compression'],
  zstd: Zstd | null,
  receiver: Said,
): AgreedCompression => {
  if (wanted === 'off') return { kind: 'none' };
  if (zstd === null) {
    return {
      kind: 'impossible',
      why: 'this agent cannot: it needs Node.js 22.15, or the package @toondepauw/node-zstd',
    };
  }
  if (receiver.capabilities.includes(zstdCapability)) return { kind: 'zstd', zstd, mode: wanted };
  return { kind: 'impossible', why: `${receiver.who} (${JSON.stringify(receiver.software)}) cannot` };
};

/** What a pull asks for. */
export const compressionToWire = (agreed: AgreedCompression): Compression => {
  if (agreed.kind !== 'zstd') return Compression.UNSPECIFIED;
  return agreed.mode === 'on' ? Compression.ON : Compression.AUTO;
};

/** A message of a pull, with its compressed part as what came out of it. */
type Incoming = PullResponse | { readonly part: { readonly $case: 'piece'; readonly value: Piece } };

/** Frames in work, or ready, while the one before them is written. */
const framesAhead = 2;

/**
 * The messages of a pull in their order, decompressed.
 * @throws STREAM_INVALID, INVALID_REQUEST (a receiver that compresses without being asked)
 */
export const decompressing = (
  agreed: AgreedCompression,
  messages: AsyncIterable<PullResponse>,
): AsyncIterable<Incoming> => {
  const zstd = agreed.kind === 'zstd' ? agreed.zstd : null;
  return mapSomeAhead<Incoming>(
    messages,
    ({ part }) => (part?.$case === 'zstd' ? decompressed(zstd, part.value) : undefined),
    framesAhead,
  );
};

const decompressed = async (zstd: Zstd | null, part: CompressedData): Promise<Incoming> => ({
  part: { $case: 'piece', value: { content: Lease.of(await decompressPart(zstd, part)), frame: part.frame } },
});
