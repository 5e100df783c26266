import { writeFile } from 'node:fs/promises';
import { Writable } from 'node:stream';
import { setTimeout } from 'node:timers/promises';
import type { CephPort } from '@rbdferry/core/ceph/port.js';
import type { Running } from '@rbdferry/core/lifecycle/daemon.js';
import type { Outside } from '@rbdferry/core/lifecycle/outside.js';
import { createLogger } from '@rbdferry/core/log/logger.js';
import { fakeCeph } from '../fake-ceph/fake-ceph.js';
import type { FakeCluster } from '../fake-ceph/fake-cluster.js';

type LogRecord = Readonly<Record<string, unknown>>;
type Start = (configPath: string, outside: Outside) => Promise<{ running: Running }>;

interface DaemonOptions {
  /** Of its configuration file, which is written at each start. */
  readonly path: string;
  readonly cluster: FakeCluster;
  readonly now: () => number;
  /** All but what it needs to reach Ceph. */
  readonly config: Record<string, unknown>;
}

/** A daemon that runs in this process, on a cluster in memory. */
export class DaemonInHouse {
  /** What the file will say at the next start or reload. */
  readonly config: Record<string, unknown>;
  readonly path: string;
  /** What it has logged, in all its lives. */
  readonly records: LogRecord[] = [];
  /** Puts something between the daemon and its cluster, from its next start on. */
  between: (ceph: CephPort) => CephPort = (ceph) => ceph;
  readonly #start: Start;
  readonly #options: DaemonOptions;
  #running: Running | null = null;

  constructor(start: Start, options: DaemonOptions) {
    this.#start = start;
    this.#options = options;
    this.config = { ceph: { conf: '/dev/null', user: 'nobody' }, ...options.config };
    this.path = options.path;
  }

  /** Starts it, and waits until it says that it is ready. */
  async start(): Promise<void> {
    const { cluster, now } = this.#options;
    const before = this.records.length;
    await this.#writeConfig();
    const { running } = await this.#start(this.path, {
      createCeph: () => ({ ceph: this.between(fakeCeph(cluster)), adapter: { kind: 'cli', why: 'in memory' } }),
      createLogger: (name, level) => createLogger(name, level, this.#log()),
      now,
    });
    this.#running = running;
    while (!this.records.slice(before).some(({ msg }) => msg === 'ready')) await setTimeout(2);
  }

  /** Ends it in good order. One that does not run stays so. */
  async stop(): Promise<void> {
    await this.#running?.stop();
    this.#running = null;
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  /** Makes it read its configuration as it is now. */
  async reload(): Promise<void> {
    await this.#writeConfig();
    await this.#running?.reload();
  }

  /** The newest log record with this message. */
  record(message: string): LogRecord | undefined {
    return this.records.findLast(({ msg }) => msg === message);
  }

  #writeConfig(): Promise<void> {
    return writeFile(this.path, JSON.stringify(this.config));
  }

  #log(): Writable {
    return new Writable({
      write: (chunk: Buffer, _, done) => {
        for (const line of chunk.toString().split('\n')) if (line !== '') this.records.push(JSON.parse(line));
        done();
      },
    });
  }
}
