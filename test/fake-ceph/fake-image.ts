import type { ImageLayout, ParentInfo } from '@rbdferry/core/ceph/port.js';
import type { PoolSpec } from '@rbdferry/core/model/image-spec.js';
import { Content } from './content.js';

/** The snapshot that a clone reads from. */
export interface FakeParent {
  readonly image: FakeImage;
  readonly snapshot: FakeSnapshot;
}

export interface FakeSnapshot {
  readonly id: number;
  readonly name: string;
  readonly sizeBytes: bigint;
  readonly content: Content;
  protected: boolean;
  /** Removed by its user and kept for its clones. */
  hidden: boolean;
  /** Its data is gone: whoever still reads it reads zeros. */
  gone: boolean;
  parent: FakeParent | null;
}

let clients = 0;

/** One image, its snapshots and who has it open. It stays the same one when it is renamed or moved to the trash. */
export class FakeImage {
  readonly id: string;
  readonly place: PoolSpec;
  readonly layout: Omit<ImageLayout, 'sizeBytes'>;
  name: string;
  sizeBytes: bigint;
  head = new Content();
  /** Oldest first, hidden ones included. */
  snapshots: FakeSnapshot[] = [];
  readonly metadata = new Map<string, string>();
  readonly watchers = new Set<string>();
  parent: FakeParent | null = null;
  /** When the trash lets go of it, in milliseconds since 1970; of no meaning while it is not there. */
  trashedUntilMs = 0;
  /** How many imports are changing it. */
  imports = 0;

  constructor(id: string, place: PoolSpec, name: string, { sizeBytes, ...layout }: ImageLayout) {
    this.id = id;
    this.place = place;
    this.name = name;
    this.sizeBytes = sizeBytes;
    this.layout = layout;
  }

  get userSnapshots(): FakeSnapshot[] {
    return this.snapshots.filter(({ hidden }) => !hidden);
  }

  snapshot(name: string): FakeSnapshot | undefined {
    return this.userSnapshots.find((snapshot) => snapshot.name === name);
  }

  resize(sizeBytes: bigint): void {
    this.sizeBytes = sizeBytes;
    this.head.discard(Number(sizeBytes), Number.MAX_SAFE_INTEGER);
  }

  /** @param id never used before in the pool, and higher than all */
  addSnapshot(id: number, name: string): void {
    const { sizeBytes, parent } = this;
    const kinds = { protected: false, hidden: false, gone: false };
    this.snapshots.push({ id, name, sizeBytes, content: this.head.copy(), parent, ...kinds });
  }

  dropSnapshot(snapshot: FakeSnapshot): void {
    snapshot.gone = true;
    this.snapshots = this.snapshots.filter((each) => each !== snapshot);
  }

  rollBack({ sizeBytes, content }: FakeSnapshot): void {
    this.sizeBytes = sizeBytes;
    this.head.rollBackTo(content);
  }

  /** Another client opens it for writing. Answers how it closes it again. */
  watch(): () => void {
    const address = `192.0.2.1:0/${(clients += 1)}`;
    this.watchers.add(address);
    return () => {
      this.watchers.delete(address);
    };
  }
}

export const parentInfo = (parent: FakeParent | null): ParentInfo | null =>
  parent === null
    ? null
    : { ...parent.image.place, image: parent.image.name, imageId: parent.image.id, snap: parent.snapshot.name };
