export interface MapAheadOptions<T, R> {
  readonly map: (item: T) => Promise<R>;
  /** How many results may be ready or in work while nobody takes them. */
  readonly ahead: number;
  /** Told how long a result in work was waited for, in milliseconds; not how long an item was. */
  readonly onWait?: ((ms: number) => void) | undefined;
}

/**
 * The results in the order of the items, with the next ones in work meanwhile. A result that is ready is given at once, however
 * long the next item takes to come. What fails does so after the results before it; leaving early ends the items.
 */
export async function* mapAhead<T, R>(
  items: AsyncIterator<T> | Iterable<T>,
  options: MapAheadOptions<T, R>,
): AsyncGenerator<R, void, undefined> {
  const pump = new Pump(Symbol.iterator in items ? each(items) : items, options);
  try {
    for (;;) {
      pump.fill();
      const { first } = pump;
      if (first === undefined) {
        if (pump.hasEnded()) return;
        await pump.read();
        continue;
      }
      const started = performance.now();
      const result = await first;
      options.onWait?.(performance.now() - started);
      pump.dropFirst();
      // Before the result is used: the next item may come meanwhile.
      pump.fill();
      yield result;
    }
  } finally {
    await pump.close();
  }
}

async function* each<T>(items: Iterable<T>): AsyncGenerator<T, void, undefined> {
  yield* items;
}

/** Reads items and starts their work, without being asked, as far ahead as it may. */
class Pump<T, R> {
  readonly #items: AsyncIterator<T>;
  readonly #options: MapAheadOptions<T, R>;
  readonly #working: Promise<R>[] = [];
  #reading: Promise<void> | null = null;
  #state: 'open' | 'ended' | { readonly thrown: unknown } = 'open';

  constructor(items: AsyncIterator<T>, options: MapAheadOptions<T, R>) {
    this.#items = items;
    this.#options = options;
  }

  get first(): Promise<R> | undefined {
    return this.#working[0];
  }

  dropFirst(): void {
    void this.#working.shift();
  }

  /** Whether nothing more will come. @throws what the items threw */
  hasEnded(): boolean {
    if (typeof this.#state === 'object') throw this.#state.thrown;
    return this.#state === 'ended';
  }

  /** Waits for the item that is being read. Never throws. */
  async read(): Promise<void> {
    await this.#reading;
  }

  fill(): void {
    if (this.#state !== 'open' || this.#reading !== null || this.#working.length >= this.#options.ahead) return;
    this.#reading = this.#items.next().then(
      (next) => {
        this.#reading = null;
        if (next.done === true) this.#end('ended');
        else this.#start(next.value);
      },
      (thrown: unknown) => {
        this.#reading = null;
        this.#end({ thrown });
      },
    );
  }

  async close(): Promise<void> {
    const closed = this.#close();
    // A generator that hangs in `next` queues `return` behind it: waiting for that would hang as well.
    if (this.#reading === null) await closed;
    else closed.catch(() => {});
  }

  async #close(): Promise<void> {
    this.#end('ended');
    await this.#items.return?.();
  }

  #start(item: T): void {
    if (this.#state !== 'open') return;
    const work = this.#options.map(item);
    // Whoever takes it hears of a failure; nobody may take it any more.
    work.catch(() => {});
    this.#working.push(work);
    this.fill();
  }

  #end(state: 'ended' | { readonly thrown: unknown }): void {
    if (this.#state === 'open') this.#state = state;
  }
}

/**
 * Passes items on as they are, one at a time, until there is one that `select` finds work in: from then on with
 * {@link mapAhead}. A stream without such items is not read ahead.
 *
 * @param select undefined when the item is to be passed on
 */
export async function* mapSomeAhead<T>(
  items: AsyncIterable<T>,
  select: (item: T) => Promise<T> | undefined,
  ahead: number,
): AsyncGenerator<T, void, undefined> {
  const iterator = items[Symbol.asyncIterator]();
  let open = true;
  try {
    for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) {
      const work = select(next.value);
      if (work === undefined) {
        yield next.value;
        continue;
      }
      yield await work;
      open = false;
      yield* mapAhead(iterator, { map: async (item) => (await select(item)) ?? item, ahead });
      return;
    }
    open = false;
  } finally {
    if (open) await iterator.return?.();
  }
}
