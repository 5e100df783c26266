import type { ByteSink } from './port.js';
import { orFull, type AskForRoom, type RoomOptions } from './room.js';

/** A sink whose writes fail with CEPH_NO_SPACE, rather than wait for ever, when their pool is full. */
export class RoomSink implements ByteSink {
  readonly #sink: ByteSink;
  readonly #ask: AskForRoom;
  readonly #options: RoomOptions;

  constructor(sink: ByteSink, ask: AskForRoom, options: RoomOptions) {
    this.#sink = sink;
    this.#ask = ask;
    this.#options = options;
  }

  write(chunk: Uint8Array): Promise<void> {
    return orFull(this.#sink.write(chunk), this.#ask, this.#options);
  }

  finish(): Promise<void> {
    return orFull(this.#sink.finish(), this.#ask, this.#options);
  }

  abort(): Promise<void> {
    return this.#sink.abort();
  }
}
