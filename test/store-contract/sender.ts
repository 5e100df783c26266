import { collectRecords } from '@rbdferry/core/diff/collect-records.js';
import { RbdLife } from '@rbdferry/core/transfer/life.js';
import type { Backup, SourceFacts } from '@rbdferry/core/model/chain.js';
import type { BackupIdParts, SnapName } from '@rbdferry/core/model/backup-id.js';
import { StreamDigest } from '@rbdferry/core/transfer/stream-digest.js';
import type { OpenedPush, PushIntent, Store, StreamFacts } from '@rbdferry/receiver/store/port.js';
import { diffOf, factsOf, makeSource, type Source } from '../recipes/source.js';
import { partsOf } from '../recipes/store.js';

interface ToSend {
  readonly image: string;
  /** Which of the source's three snapshots: 0, 1 or 2. */
  readonly at: 0 | 1 | 2;
  readonly base?: BackupIdParts | null;
  readonly client?: string;
}

/** Sends backups of one source, under whatever image name a case wants, to a store. */
export class Sender {
  readonly #source: Source;

  private constructor(source: Source) {
    this.#source = source;
  }

  static async make(): Promise<Sender> {
    return new Sender(await makeSource());
  }

  /** SHA-256, in hex, of the content of a snapshot of the source. */
  sha256(at: 0 | 1 | 2): string {
    return this.#source.cluster.sha256(this.#source.image, this.#source.snaps[at]);
  }

  sha256Of(snap: SnapName): string {
    return this.#source.cluster.sha256(this.#source.image, snap);
  }

  async intent({ image, at, base = null, client = 'agent1' }: ToSend): Promise<PushIntent> {
    const snap = this.#source.snaps[at];
    return { source: renamed(await factsOf(this.#source, snap), image), snap, base, client };
  }

  /** The stream without its end record, and what is known of it as a whole. */
  async stream({ at, base = null }: ToSend): Promise<{ chunks: Uint8Array[]; facts: StreamFacts }> {
    const whole = await diffOf(this.#source, { snap: this.#source.snaps[at], fromSnap: base?.snap ?? null });
    const digest = new StreamDigest();
    for (const chunk of whole) digest.update(chunk);
    const streamBytes = whole.reduce((sum, { length }) => sum + BigInt(length), 0n);
    const { dataBytes } = collectRecords(whole).summary;
    const chunks = whole.map((chunk, index) => (index === whole.length - 1 ? chunk.subarray(0, -1) : chunk));
    return {
      chunks: chunks.filter(({ length }) => length > 0),
      facts: { streamBytes, dataBytes, streamGmac: digest.digest() },
    };
  }

  /** Opens a push and writes its data, all of it or the first chunk only. */
  async begin(store: Store, what: ToSend, { half = false } = {}): Promise<{ push: OpenedPush; facts: StreamFacts }> {
    const push = await store.open(await this.intent(what), {});
    const { chunks, facts } = await this.stream(what);
    push.begin(new RbdLife('backup'));
    for (const chunk of half ? chunks.slice(0, 1) : chunks) await push.write(chunk);
    return { push, facts };
  }

  async send(store: Store, what: ToSend): Promise<Backup> {
    const { push, facts } = await this.begin(store, what);
    return push.commit(facts);
  }

  /** A chain of the source's first backups. */
  async chain(store: Store, image: string, count: 1 | 2 | 3): Promise<Backup[]> {
    const made: Backup[] = [];
    for (const at of ([0, 1, 2] as const).slice(0, count)) {
      const newest = made.at(-1);
      made.push(await this.send(store, { image, at, base: newest === undefined ? null : partsOf(newest.id) }));
    }
    return made;
  }
}

const renamed = (facts: SourceFacts, image: string): SourceFacts => ({
  ...facts,
  identity: { ...facts.identity, image: { ...facts.identity.image, image } },
});
