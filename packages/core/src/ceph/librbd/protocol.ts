import type { DiffExtents, DiffRange, ImageInfo, ImageListing, Snapshot, TrashEntry } from '../port.js';
import type { ImageRef, ImageSpec, PoolSpec } from '../../model/image-spec.js';

/** What a daemon and its helper say to each other, as structured clones over the channel of `fork`. */

/** One thing to learn of an image; several are learnt in one opening, which is nearly the whole cost. */
export type Wanted = 'info' | 'snapshots' | 'metadata' | 'watchers';

export interface LookAsk {
  readonly image: ImageRef;
  /** Look at the image as it was then. */
  readonly snap: string | null;
  readonly wanted: readonly Wanted[];
}

export interface LookAnswer {
  readonly info?: ImageInfo;
  /** User snapshots, oldest first. */
  readonly snapshots?: Snapshot[];
  readonly metadata?: Pair[];
  readonly watchers?: string[];
}

/** A key and its value, to the byte. */
export type Pair = readonly [key: Uint8Array, value: Uint8Array];

/** Everything that the helper can be asked for: what goes there, and what comes back. */
export interface Verbs {
  look: { ask: LookAsk; answer: LookAnswer };
  list: { ask: PoolSpec; answer: string[] };
  listLong: { ask: PoolSpec; answer: ImageListing[] };
  metadataEntries: { ask: PoolSpec & { readonly imageId: string }; answer: Pair[] };
  /** Whether it has snapshots that are not its user's, or may have. */
  hidesSnapshots: { ask: ImageSpec; answer: boolean };
  trashList: { ask: PoolSpec; answer: TrashEntry[] };
  headMayDiffer: { ask: { readonly image: ImageSpec; readonly snap: string }; answer: boolean };
  diffExtents: { ask: { readonly image: ImageSpec; readonly range: DiffRange }; answer: DiffExtents };
  createSnapshot: { ask: { readonly image: ImageSpec; readonly snap: string }; answer: null };
  /** Answers false when there was none, as `removeMetadata` does. */
  removeSnapshot: { ask: { readonly image: ImageRef; readonly snap: string }; answer: boolean };
  setMetadata: { ask: { readonly image: ImageSpec; readonly key: string; readonly value: string }; answer: null };
  removeMetadata: { ask: { readonly image: ImageSpec; readonly key: string }; answer: boolean };
  rename: { ask: { readonly from: ImageSpec; readonly to: string }; answer: null };
  trashMove: { ask: { readonly image: ImageSpec; readonly delaySeconds: number }; answer: null };
  trashRestore: { ask: { readonly imageId: string; readonly to: ImageSpec }; answer: null };
  /** Shuts a client out for so long; it is gone, and its locks with it. */
  blocklist: { ask: { readonly address: string; readonly seconds: number }; answer: null };
}

export type Verb = keyof Verbs;

/** Verbs that only read: a call that its helper took with it is made again. */
export const readingVerbs: ReadonlySet<Verb> = new Set<Verb>([
  'look',
  'list',
  'listLong',
  'metadataEntries',
  'hidesSnapshots',
  'trashList',
  'headMayDiffer',
  'diffExtents',
]);

/** What a failed call was about when it failed, so that the same errno can mean several things. */
export type FailedAt = 'pool' | 'namespace' | 'image' | 'snapshot' | 'call';

export interface NativeFailure {
  /** Positive, as in errno.h. */
  readonly errno: number;
  readonly at: FailedAt;
  /** The function of librbd or librados that answered it. */
  readonly call: string;
}

export interface StartMessage {
  readonly kind: 'start';
  readonly conf: string;
  readonly user: string;
  readonly keyring: string | undefined;
  readonly connectSeconds: number;
  /** Operations in flight of what goes through whole images. */
  readonly concurrency: number;
}

export type ToHelper =
  | StartMessage
  | { readonly kind: 'call'; readonly id: number; readonly verb: Verb; readonly ask: Verbs[Verb]['ask'] }
  /** Nobody waits for it any more: a long one ends at its next step. */
  | { readonly kind: 'cancel'; readonly id: number };

export type FromHelper =
  /** The libraries are there and look as expected; it goes on to connect. @see StartMessage */
  | { readonly kind: 'loaded'; readonly librbd: string }
  | { readonly kind: 'unusable'; readonly why: string }
  | { readonly kind: 'connected'; readonly fsid: string; readonly address: string }
  /** It ends now. */
  | { readonly kind: 'not-connected'; readonly failure: NativeFailure }
  | { readonly kind: 'answer'; readonly id: number; readonly answer: Verbs[Verb]['answer'] }
  | { readonly kind: 'failure'; readonly id: number; readonly failure: NativeFailure }
  /** A long call has done a part of its work. */
  | { readonly kind: 'alive'; readonly id: number };
