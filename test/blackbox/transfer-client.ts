import { expect } from 'vitest';
import {
  chainOf,
  commitOf,
  cut,
  facts,
  fullRecords,
  hash,
  header,
  nextTime,
  snapOf,
  streamOf,
} from './backup-streams.js';
import type { Snaps } from './backup-streams.js';
import * as diff from './diff-v1.js';
import type { Caller, Message } from './wire.js';

export interface Backup {
  readonly id: string;
  readonly kind: string;
  readonly sizeBytes: string;
  readonly streamBytes: string;
  readonly dataBytes: string;
  readonly streamGmac: Buffer;
  readonly baseId: string;
  readonly client: string;
  readonly source: { readonly snapId: string; readonly metadata: Record<string, string> } | null;
}

export interface Chain {
  readonly name: string;
  readonly active: boolean;
  readonly legacy: boolean;
  readonly backups: readonly Backup[];
}

export interface ToOpen {
  readonly image?: string;
  /** The id of the backup that an increment starts from. */
  readonly baseId?: string;
  readonly snap?: string;
  readonly store?: string;
}

export interface Opened {
  readonly transferId: string;
  readonly backupId: string;
  readonly snaps: Snaps;
}

/** A client of a receiver, made of the .proto files alone, that does what an agent does. */
export class TransferClient {
  readonly caller: Caller;
  readonly #store: string;

  /** @param store the one that it uses unless another is named */
  constructor(caller: Caller, store: string) {
    this.caller = caller;
    this.#store = store;
  }

  /** Opens a push; each one makes a snapshot of a name of its own unless that is given. */
  async open({ image, baseId = '', snap = `${nextTime()}.snap`, store = this.#store }: ToOpen = {}): Promise<Opened> {
    const request = { store, source: facts(image), snap, baseId };
    const opened = await this.caller.unary<{ transferId: string; backupId: string }>('openPush', request);
    return { ...opened, snaps: { from: baseId === '' ? null : snapOf(baseId), to: snap } };
  }

  /** Sends these records as the whole stream, and commits. */
  async push({ transferId, snaps }: Opened, ...records: Buffer[]): Promise<{ backup: Backup; stream: Buffer }> {
    const stream = streamOf(snaps, ...records);
    const { backup } = await this.send([header(transferId), ...cut(stream), commitOf(stream)]);
    return { backup, stream };
  }

  send(messages: Iterable<Message>, ending?: 'end' | 'cancel'): Promise<{ backup: Backup; waits: Message | null }> {
    return this.caller.upload('push', messages, ending);
  }

  /** A chain of one full backup. */
  async pushFull(image = 'vm1'): Promise<{ backup: Backup; stream: Buffer }> {
    return this.push(await this.open({ image }), ...fullRecords());
  }

  /** The backup's stream, whose end says what it was. */
  async pull(backupId: string): Promise<{ stream: Buffer; header: Backup }> {
    const parts = await this.caller.all<{
      part: string;
      header?: Backup;
      data?: Buffer;
      trailer?: { streamBytes: string; streamGmac: Buffer };
    }>('pull', { backupId });
    const [first] = parts;
    const trailer = parts.at(-1)?.trailer;
    if (first?.header === undefined || trailer === undefined) throw new Error('no header, or no trailer');
    const stream = Buffer.concat(
      parts.flatMap(({ data, part }) => (part === 'data' && data !== undefined ? [data] : [])),
    );
    expect(trailer.streamBytes).toBe(String(stream.length));
    expect(trailer.streamGmac.equals(diff.gmac(stream))).toBe(true);
    return { stream, header: first.header };
  }

  /** SHA-256, in hex, of the content that the backup's stream makes of an empty image. */
  async sha256OfPulled(backupId: string): Promise<string> {
    return hash(diff.apply((await this.pull(backupId)).stream, Buffer.alloc(0)));
  }

  async backup(backupId: string): Promise<Backup> {
    return (await this.caller.unary<{ backup: Backup }>('getBackup', { backupId })).backup;
  }

  /** Those of one image, or all. */
  async chains(image = ''): Promise<Chain[]> {
    const answers = await this.caller.all<{ chain: Chain }>('listChains', { store: this.#store, image });
    return answers.map(({ chain }) => chain);
  }

  async deleteBackup(backupId: string): Promise<Message> {
    return this.caller.unary('deleteBackup', { backupId });
  }

  deleteChainOf({ id }: Backup): Promise<Message> {
    return this.caller.unary('deleteChain', { store: this.#store, chain: chainOf(id) });
  }

  close(): void {
    this.caller.close();
  }
}
