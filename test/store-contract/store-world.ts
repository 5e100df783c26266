import type { Store } from '@rbdferry/receiver/store/port.js';

/** A place that a kind of store keeps its backups in, with what the contract needs besides the port. */
export interface StoreWorld {
  /** A store on the place, as a receiver that starts makes it. Any number may follow each other; each is to be closed. */
  open(): Store;
  /** Everything in the place, a line each: the same lines when nothing has changed. What was measured is left out. */
  contents(): Promise<readonly string[]>;
  /** Who has something of the place open for writing. */
  writers(): Promise<readonly string[]>;
  stop(): Promise<void>;
}

/** A {@link StoreWorld} whose receivers can die. */
export interface MortalStoreWorld extends StoreWorld {
  /** A store of a receiver that dies when it is told to: nothing that it does reaches the place any more. */
  /** The one that its receivers look at, in milliseconds since 1970. */
  readonly clock: { nowMs: number };
  openMortal(): { readonly store: Store; die(): Promise<void> };
}
