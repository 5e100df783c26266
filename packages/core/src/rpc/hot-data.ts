import { withRoom } from '../transfer/lease.js';
import { TransferServiceService, type PullResponse, type PushRequest } from '../gen/rbdferry/v1/transfer.js';

/** Tag byte of `bytes data = 2` in PushRequest.part and PullResponse.part. */
const dataTag = 0x12;

const varintLength = (value: number): number => (value < 0x80 ? 1 : 1 + varintLength(Math.floor(value / 128)));

/**
 * Encodes a message whose only field is `bytes data = 2`, with one copy, or none when the data has room for the head before it;
 * ts-proto's own encoder copies about five times.
 */
export const encodeData = (data: Uint8Array): Buffer => {
  const headLength = 1 + varintLength(data.length);
  const inPlace = withRoom(data, headLength);
  const out = inPlace ?? Buffer.allocUnsafe(headLength + data.length);
  out[0] = dataTag;
  let rest = data.length;
  let at = 1;
  while (rest >= 0x80) {
    out[at++] = (rest % 128) | 0x80;
    rest = Math.floor(rest / 128);
  }
  out[at] = rest;
  if (inPlace === undefined) out.set(data, headLength);
  return out;
};

/** The payload of a message that is nothing but `data`, as a view; undefined when the message is anything else. */
export const decodeData = (message: Buffer): Buffer | undefined => {
  if (message[0] !== dataTag) return undefined;
  let length = 0;
  let scale = 1;
  for (let at = 1; at < 6; at += 1) {
    const byte = message[at];
    if (byte === undefined) return undefined;
    length += (byte & 0x7f) * scale;
    if (byte < 0x80) return at + 1 + length === message.length ? message.subarray(at + 1) : undefined;
    scale *= 128;
  }
  return undefined;
};

/** A message with a `oneof part` that may be `bytes data = 2`. */
interface DataPart {
  readonly part?: { readonly $case: string; readonly value: unknown } | undefined;
}

/** A generated serializer with the one-copy way for data messages. */
const hotSerialize =
  <M extends DataPart>(general: (message: M) => Buffer) =>
  (message: M): Buffer =>
    message.part?.$case === 'data' && message.part.value instanceof Uint8Array
      ? encodeData(message.part.value)
      : general(message);

/** A generated deserializer with the no-copy way for data messages. */
const hotDeserialize =
  <M extends DataPart>(general: (bytes: Buffer) => M, wrap: (data: Buffer) => M) =>
  (bytes: Buffer): M => {
    const data = decodeData(bytes);
    return data === undefined ? general(bytes) : wrap(data);
  };

const { push, pull } = TransferServiceService;

/** The generated definition of TransferService with a codec of its own for the one hot message, in both directions. */
export const transferDefinition = {
  ...TransferServiceService,
  push: {
    ...push,
    requestSerialize: hotSerialize<PushRequest>(push.requestSerialize),
    requestDeserialize: hotDeserialize<PushRequest>(push.requestDeserialize, (value) => ({
      part: { $case: 'data', value },
    })),
  },
  pull: {
    ...pull,
    responseSerialize: hotSerialize<PullResponse>(pull.responseSerialize),
    responseDeserialize: hotDeserialize<PullResponse>(pull.responseDeserialize, (value) => ({
      part: { $case: 'data', value },
    })),
  },
};
