import type { Http2Stream } from 'node:http2';
import { Socket } from 'node:net';
import { MessageTooLarge, type FrameAssembler } from './frame-assembler.js';

/** What Node has behind a stream, for one that is not yet closed. */
interface StreamHandle {
  /** Has the stream's bytes put into this buffer, and `kBufferCb` called for each time. */
  useUserBuffer(buffer: Uint8Array): void;
}

const privateSymbol = (owner: object, description: string): symbol | undefined =>
  Object.getOwnPropertySymbols(owner).find((symbol) => symbol.description === description);

const keysOf = (socket: Socket) => ({
  buffer: privateSymbol(socket, 'kBuffer'),
  callback: privateSymbol(socket, 'kBufferCb'),
  nextBuffer: privateSymbol(socket, 'kBufferGen'),
});

/** Where Node looks, in any stream that has a handle, for what a socket's option `onread` asks for. */
const keys = keysOf(new Socket());

const wholeFrames = new WeakSet<Uint8Array>();

/** Whether these bytes are a frame that {@link readInPlace} put together. */
export const isWholeFrame = (bytes: Uint8Array): boolean => wholeFrames.has(bytes);

/** For what comes after a message that is refused. */
const refuse = Buffer.alloc(16 * 1024);

/**
 * From now on the stream gives whole frames, which HTTP/2 copies together itself, straight to where they belong. Else it comes in
 * pieces of at most 16 KB, each in memory of its own, in an object of its own, through the whole of a stream's machinery: that was
 * a third of the receiving daemon's CPU.
 *
 * Nothing may be left to read in the stream; `assembler` has seen all that came before, and is the stream's from now on. A message
 * larger than allowed comes as its head alone, for grpc-js to refuse. This reaches into private parts of Node. Where they are not
 * there, or the stream is closed, it answers false and leaves everything as it is; grpc-hot-path.test.ts fails when they move.
 */
export const readInPlace = (stream: Http2Stream, assembler: FrameAssembler): boolean => {
  const { buffer, callback, nextBuffer } = keys;
  const handleKey = privateSymbol(stream, 'kHandle');
  if (buffer === undefined || callback === undefined || nextBuffer === undefined || handleKey === undefined)
    return false;
  const handle = Reflect.get(stream, handleKey) as StreamHandle | undefined;
  if (typeof handle?.useUserBuffer !== 'function') return false;
  let isRefused = false;
  const room = (): Buffer => (isRefused ? refuse : assembler.room());
  const filled = (bytes: number): Buffer | null => {
    if (isRefused) return null;
    try {
      const frame = assembler.filled(bytes);
      if (frame !== null) wholeFrames.add(frame);
      return frame;
    } catch (thrown) {
      if (!(thrown instanceof MessageTooLarge)) throw thrown;
      isRefused = true;
      return thrown.head;
    }
  };
  const first = room();
  Object.assign(stream, {
    [buffer]: first,
    // Answers whether the stream wants more; what comes all the same, within its window, has its place.
    [callback]: (bytes: number): boolean => {
      const frame = filled(bytes);
      return frame === null || stream.push(frame);
    },
    [nextBuffer]: room,
  });
  handle.useUserBuffer(first);
  return true;
};
