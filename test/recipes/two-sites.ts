import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { JobStore } from '@rbdferry/agent/jobs/job-store.js';
import type { BackupJobRequest } from '@rbdferry/agent/backup/backup-jobs.js';
import type { JobRequest } from '@rbdferry/agent/jobs/job.js';
import type { CephPort, ImageLayout } from '@rbdferry/core/ceph/port.js';
import type { BackupId } from '@rbdferry/core/model/backup-id.js';
import type { Backup } from '@rbdferry/core/model/chain.js';
import { OpenTransfers } from '@rbdferry/receiver/transfer/open-transfers.js';
import { randomBytes } from '../ceph/image-content.js';
import { dyingCeph, type DyingCeph } from '../fake-ceph/dying-ceph.js';
import { fakeCeph } from '../fake-ceph/fake-ceph.js';
import { FakeCluster } from '../fake-ceph/fake-cluster.js';
import { Agent } from './agent.js';
import { settled } from './settled.js';
import { listed, rbdStoreOn, storePool } from './store.js';
import { connectTo, type ReceiverProcess } from './wire.js';

const KiB = 1024;
export const imageLayout: ImageLayout = {
  sizeBytes: BigInt(128 * KiB),
  objectSizeBytes: 16 * KiB,
  stripeUnitBytes: 16 * KiB,
  stripeCount: 1,
  features: ['layering'],
  dataPool: null,
};
const chunkBytes = 48 * KiB;

export type Side = 'agent' | 'receiver';
export interface Death {
  readonly side: Side;
  /** Which call of that side's port, from 1 on. */
  readonly at: number;
  readonly when: 'before' | 'after';
}

export interface TwoSitesOptions {
  /** Of backup images. */
  readonly features?: string[];
  /** Puts something before the port of a side, in each of its lives. */
  readonly watch?: (side: Side, port: CephPort) => CephPort;
}

export const vm = { pool: 'rbd', namespace: '', image: 'vm' };

/**
 * An agent and a receiver between two clusters, both of which may die: then nothing that they still do reaches anybody, and their next
 * lives know what is on disk and in the clusters.
 */
export class TwoSites {
  readonly source = new FakeCluster('rbd');
  readonly backup = new FakeCluster(storePool.pool);
  /** What each backup that was begun must hold, as a SHA-256. */
  readonly contents = new Map<BackupId, string>();
  readonly #directory: string;
  readonly #options: TwoSitesOptions;
  /** Where the job store is that the next life of the agent finds. */
  #state: string;
  #deaths = 0;
  #nowMs = Date.UTC(2026, 10, 27, 13);
  readonly #now = () => this.#nowMs;
  #agentLife: DyingCeph;
  #agent: Agent;
  #receiverLife: DyingCeph;
  #receiver: ReceiverProcess & { readonly store: ReturnType<typeof rbdStoreOn> };

  /** @param directory for the agent's job stores, one for each death */
  constructor(directory: string, options: TwoSitesOptions = {}) {
    this.#directory = directory;
    this.#options = options;
    this.#state = join(directory, '0');
    [this.#receiverLife, this.#receiver] = this.#newReceiver(null);
    [this.#agentLife, this.#agent] = this.#newAgent(null);
  }

  async createImage(): Promise<void> {
    await fakeCeph(this.source).create(vm, imageLayout);
  }

  /** Changes the image; what it holds afterwards is what the next backup must hold. */
  write(round: number): void {
    this.source.write(vm, 3 * KiB + round * 7 * KiB, randomBytes(`round ${round}`, 60 * KiB));
    this.source.discard(vm, round * 5 * KiB, 4 * KiB);
  }

  run(request: JobRequest): Promise<string> {
    this.wait(60_000);
    return this.#agent.run(request);
  }

  async backUp(mode: 'auto' | 'incr' | 'full' = 'auto'): Promise<string> {
    const content = this.source.sha256(vm);
    const request: BackupJobRequest = { kind: 'backup', image: 'rbd/vm', mode, receiver: 'dr', store: 'main' };
    const job = await this.run(request);
    const id = this.#agent.backupOf(job);
    if (id !== null) this.contents.set(id, content);
    return job;
  }

  get agent(): Agent {
    return this.#agent;
  }

  get store() {
    return this.#receiver.store;
  }

  /** What the next life of the agent will find in its job store, in a word each. */
  onDisk(): string[] {
    const jobs = new JobStore(this.#state);
    const ends = jobs
      .looseEnds()
      .map(({ end }) => ('stage' in end ? String(end.stage) : JSON.stringify(Object.keys(end))));
    const states = jobs.list({ limit: 100 }).map(({ state }) => (state.kind === 'running' ? state.phase : state.kind));
    jobs.close();
    return [...ends, ...states];
  }

  listed(): Promise<Backup[]> {
    return listed(this.store);
  }

  wait(ms: number): void {
    this.#nowMs += ms;
  }

  /** Gives both a new life, one of which will end so. Answers what they call. */
  async willDie(death: Death | null): Promise<Record<Side, readonly string[]>> {
    await this.#end();
    [this.#receiverLife, this.#receiver] = this.#newReceiver(death);
    [this.#agentLife, this.#agent] = this.#newAgent(death);
    return { agent: this.#agentLife.calls, receiver: this.#receiverLife.calls };
  }

  get hasDied(): boolean {
    return this.#agentLife.isDead || this.#receiverLife.isDead;
  }

  /** Waits until neither does anything any more. */
  async settled(): Promise<void> {
    await settled(this.#agentLife.calls);
    await settled(this.#receiverLife.calls);
  }

  /** Whoever is dead starts again, one of them to die so if it is to; then both put right what they find. Answers the call that was the last. */
  async recover(death: Death | null = null): Promise<string> {
    await this.settled();
    if (this.#receiverLife.isDead || death?.side === 'receiver') {
      await this.#receiver.store.close();
      [this.#receiverLife, this.#receiver] = this.#newReceiver(death);
      await this.#receiver.store.recover({}).catch(() => {});
    }
    if (this.#agentLife.isDead || death?.side === 'agent') {
      await this.#agent.close();
      [this.#agentLife, this.#agent] = this.#newAgent(death);
    }
    for (let round = 0; (await this.#agent.settle()) && round < 5; round += 1);
    await this.settled();
    const life = death?.side === 'agent' ? this.#agentLife : this.#receiverLife;
    return life.calls[(death?.at ?? 0) - 1] ?? 'nothing';
  }

  async close(): Promise<void> {
    await this.#end();
  }

  async #end(): Promise<void> {
    await this.settled();
    await this.#agent.close();
    await this.#receiver.open.close();
    await this.#receiver.store.close();
  }

  #port(side: Side): CephPort {
    const port = fakeCeph(side === 'agent' ? this.source : this.backup, { chunkBytes });
    return this.#options.watch?.(side, port) ?? port;
  }

  #newReceiver(death: Death | null): [DyingCeph, ReceiverProcess & { readonly store: ReturnType<typeof rbdStoreOn> }] {
    const life = dyingCeph(this.#port('receiver'), endOf('receiver', death));
    const store = rbdStoreOn(life.ceph, this.#options.features, this.#now);
    return [life, { store, open: new OpenTransfers(), dead: life.dead }];
  }

  #newAgent(death: Death | null): [DyingCeph, Agent] {
    const life = dyingCeph(this.#port('agent'), endOf('agent', death));
    const directory = this.#state;
    // What the dead one still writes into its job store is read by nobody.
    life.dead.addEventListener('abort', () => {
      this.#state = join(this.#directory, `${(this.#deaths += 1)}`);
      cpSync(directory, this.#state, { recursive: true });
    });
    const connect = () => Promise.resolve().then(() => connectTo(this.#receiver, life.dead, this.#now));
    return [life, new Agent({ directory, life, connect, now: this.#now })];
  }
}

const endOf = (side: Side, death: Death | null) =>
  death?.side === side ? death : ({ at: Number.POSITIVE_INFINITY, when: 'before' } as const);
