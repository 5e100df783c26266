import type { ByteSink } from './port.js';
import { orFull, type AskForSpace, type SpaceOptions } from './pool-space.js';

/** A sink whose writes fail with CEPH_NO_SPACE, rather than wait for ever, when their pool is full. */
export class PoolSpaceSink implements ByteSink {
  readonly #sink: ByteSink;
  readonly #ask: AskForSpace;
  readonly #options: SpaceOptions;

  constructor(sink: ByteSink, ask: AskForSpace, options: SpaceOptions) {
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
