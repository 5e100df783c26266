import type { ByteSink, ByteSource, CephPort } from '@rbdferry/core/ceph/port.js';
import type { Lease } from '@rbdferry/core/transfer/lease.js';
import { formatImageRef, formatPoolSpec, type ImageRef, type PoolSpec } from '@rbdferry/core/model/image-spec.js';

/**
 * One call that is about to reach a port: a method (`info`), or a step of a stream (`importDiff.write`, `importDiff.finish`,
 * `importDiff.abort`, `exportDiff.chunk`; `importDiff` and `exportDiff` are their starts).
 */
export interface PortCall {
  readonly name: string;
  /** Its name and what it is about: `setMetadata rbd/vm rbdferry.state`. */
  readonly text: string;
}

export interface Interceptor {
  /** Runs a call, or does not. */
  around<T>(call: PortCall, run: () => Promise<T>): Promise<T>;
  /** Sees each sink of the port, on which nothing was done yet. */
  opened?(sink: ByteSink): void;
}

/** The same port, each call of which goes through the interceptor. It knows the methods by what they give, so new ones are in it. */
export const intercept = (port: CephPort, interceptor: Interceptor): CephPort =>
  new Proxy(port, {
    get(target, name) {
      const method: unknown = Reflect.get(target, name);
      if (typeof method !== 'function' || typeof name !== 'string') return method;
      return (...args: unknown[]): unknown => {
        const call = { name, text: [name, ...args.flatMap(asText)].join(' ') };
        const run = (): unknown => method.apply(target, args);
        if (name === 'exportDiff') return source(call, () => run() as ByteSource, interceptor);
        if (name === 'importDiff') return new Sink(call, () => run() as ByteSink, interceptor);
        return interceptor.around(call, async () => run());
      };
    },
  });

const longestText = 60;

const asText = (argument: unknown): string[] => {
  if (typeof argument === 'string') return [argument.slice(0, longestText)];
  if (typeof argument !== 'object' || argument === null) return [];
  if ('image' in argument || 'imageId' in argument) return [formatImageRef(argument as ImageRef)];
  if ('pool' in argument) return [formatPoolSpec(argument as PoolSpec)];
  return 'snap' in argument ? [`@${String(argument.snap)}`] : [];
};

const stepOf = ({ name, text }: PortCall, step: string): PortCall => ({
  name: `${name}.${step}`,
  text: text.replace(name, `${name}.${step}`),
});

const source = (call: PortCall, start: () => ByteSource, interceptor: Interceptor): ByteSource => ({
  [Symbol.asyncIterator]: () => {
    let iterator: AsyncIterator<Lease> | undefined;
    return {
      async next() {
        iterator ??= await interceptor.around(call, async () => start()[Symbol.asyncIterator]());
        const begun = iterator;
        return interceptor.around(stepOf(call, 'chunk'), () => begun.next());
      },
      async return() {
        await iterator?.return?.();
        return { done: true, value: undefined };
      },
    };
  },
});

/** Starts the real one a moment later than the port would, when the interceptor lets it. */
class Sink implements ByteSink {
  readonly #call: PortCall;
  readonly #interceptor: Interceptor;
  readonly #started: Promise<ByteSink>;

  constructor(call: PortCall, start: () => ByteSink, interceptor: Interceptor) {
    this.#call = call;
    this.#interceptor = interceptor;
    this.#started = interceptor.around(call, async () => {
      const sink = start();
      interceptor.opened?.(sink);
      return sink;
    });
    this.#started.catch(() => {});
  }

  write(chunk: Uint8Array): Promise<void> {
    return this.#step('write', (sink) => sink.write(chunk));
  }

  finish(): Promise<void> {
    return this.#step('finish', (sink) => sink.finish());
  }

  async abort(): Promise<void> {
    await this.#step('abort', (sink) => sink.abort()).catch(() => {});
  }

  async #step(name: string, run: (sink: ByteSink) => Promise<void>): Promise<void> {
    const sink = await this.#started;
    await this.#interceptor.around(stepOf(this.#call, name), () => run(sink));
  }
}
