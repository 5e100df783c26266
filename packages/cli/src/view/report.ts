import type { BackupUsageView, ChainUsageView } from './usage.js';

/** What the backups of one image by one client come to, of those committed in the time range. This is the JSON shape too. */
export interface ReportLine {
  readonly store: string;
  /** Common name of the certificate that sent them; null for backups of the older tool. */
  readonly client: string | null;
  /** Null for backups of the older tool, which did not write it down. */
  readonly pool: string | null;
  readonly namespace: string | null;
  readonly image: string;
  /** Of the source cluster; null for backups of the older tool. */
  readonly fsid: string | null;
  readonly fullBackups: number;
  readonly incrementalBackups: number;
  /** What they added to the store. */
  readonly addedBytes: bigint;
  /** What went over the wire for them; of the older tool's backups nothing is known and nothing is counted. */
  readonly streamBytes: bigint;
  /** Size of the image at the newest of them. */
  readonly sizeBytes: bigint;
  readonly firstCommittedAt: Date;
  readonly lastCommittedAt: Date;
}

interface TimeRange {
  /** Inclusive. */
  readonly from?: Date | undefined;
  /** Exclusive. */
  readonly until?: Date | undefined;
}

/** A line so far, and when the newest of its backups was committed. */
interface Sum {
  readonly line: ReportLine;
  readonly newestAt: Date;
}

/** Sums usage up per store, client and image. */
export class UsageReport {
  readonly #range: TimeRange;
  readonly #sums = new Map<string, Sum>();

  constructor(range: TimeRange) {
    this.#range = range;
  }

  add(chain: ChainUsageView): void {
    const ofChain = new Map<string, Sum>();
    for (const backup of chain.backups) {
      if (!isWithin(backup, this.#range)) continue;
      const line = lineOf(chain, backup);
      // Within a chain the last one is the newest, whatever the clock said.
      const sum = { line, newestAt: line.lastCommittedAt };
      addTo(ofChain, keyOf(line), sum, () => sum);
    }
    for (const [key, sum] of ofChain) addTo(this.#sums, key, sum, newerOf);
  }

  /** Ordered by store, client, pool, namespace and image. */
  lines(): ReportLine[] {
    return [...this.#sums].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, { line }]) => line);
  }
}

const addTo = (sums: Map<string, Sum>, key: string, sum: Sum, newer: (known: Sum, sum: Sum) => Sum): void => {
  const known = sums.get(key);
  if (known === undefined) {
    sums.set(key, sum);
    return;
  }
  const { newestAt, line } = newer(known, sum);
  sums.set(key, { newestAt, line: { ...sumOf(known.line, sum.line), sizeBytes: line.sizeBytes } });
};

const newerOf = (a: Sum, b: Sum): Sum => (b.newestAt >= a.newestAt ? b : a);

const isWithin = ({ committedAt }: BackupUsageView, { from, until }: TimeRange): boolean =>
  committedAt !== null && (from === undefined || committedAt >= from) && (until === undefined || committedAt < until);

/** Two clusters may have images of one name. */
const keyOf = ({ store, client, pool, namespace, image, fsid }: ReportLine): string =>
  JSON.stringify([store, client ?? '', pool ?? '', namespace ?? '', image, fsid ?? '']);

/** The report of one backup. */
const lineOf = ({ store, client, image }: ChainUsageView, backup: BackupUsageView): ReportLine => {
  const { source } = backup;
  const at = backup.committedAt ?? new Date(0);
  return {
    store,
    client,
    ...(source === null ? { pool: null, namespace: null, image } : partsOf(source.image)),
    fsid: source?.fsid ?? null,
    fullBackups: backup.kind === 'full' ? 1 : 0,
    incrementalBackups: backup.kind === 'full' ? 0 : 1,
    addedBytes: backup.addedBytes,
    streamBytes: backup.streamBytes ?? 0n,
    sizeBytes: backup.sizeBytes,
    firstCommittedAt: at,
    lastCommittedAt: at,
  };
};

/** Of POOL/IMAGE or POOL/NAMESPACE/IMAGE: no name holds a slash. */
const partsOf = (spec: string): Pick<ReportLine, 'pool' | 'namespace' | 'image'> => {
  const [pool = '', ...rest] = spec.split('/');
  const image = rest.pop() ?? '';
  return { pool, namespace: rest.join('/'), image };
};

const sumOf = (a: ReportLine, b: ReportLine): ReportLine => ({
  ...a,
  fullBackups: a.fullBackups + b.fullBackups,
  incrementalBackups: a.incrementalBackups + b.incrementalBackups,
  addedBytes: a.addedBytes + b.addedBytes,
  streamBytes: a.streamBytes + b.streamBytes,
  firstCommittedAt: b.firstCommittedAt < a.firstCommittedAt ? b.firstCommittedAt : a.firstCommittedAt,
  lastCommittedAt: b.lastCommittedAt > a.lastCommittedAt ? b.lastCommittedAt : a.lastCommittedAt,
});
