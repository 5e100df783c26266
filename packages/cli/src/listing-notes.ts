import { note } from './output.js';
import type { ChainView } from './view/chain.js';
import type { UnreadableView } from './view/usage.js';

/** Says on stderr that a chain is missing from what is told, and why. */
export const noteUnreadable = ({ store, name, error }: UnreadableView): void => {
  const what = name === '' ? `a chain of store ${store}` : `${store}/${name}`;
  note(`${what} is left out, it cannot be read: ${error.code}: ${error.message}`);
};

/** What a listing has to say beside its chains: that there are none, that some are missing, that the source could not be looked at. */
export class ListingNotes {
  readonly #image: string | undefined;
  readonly #sourceUnknown = new Set<string>();
  #count = 0;

  /** @param image the one that was asked for; undefined for the whole store */
  constructor(image: string | undefined) {
    this.#image = image;
  }

  saw({ store, name, error, sourceUnknown }: ChainView): void {
    this.#count += 1;
    if (error !== null) noteUnreadable({ store, name, error });
    if (sourceUnknown !== null) this.#sourceUnknown.add(sourceUnknown);
  }

  /** The listing has ended. */
  close(): void {
    if (this.#count === 0) note(this.#image === undefined ? 'no backups' : `no backups of ${this.#image}`);
    for (const why of this.#sourceUnknown) note(`not known which snapshots are still on the source: ${why}`);
  }

  /** Passes the chains on, and closes at their end. */
  async *watch(chains: AsyncIterable<ChainView>): AsyncGenerator<ChainView, void, undefined> {
    for await (const chain of chains) {
      this.saw(chain);
      yield chain;
    }
    this.close();
  }
}
