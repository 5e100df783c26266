import { Counter, type Registry } from 'prom-client';
import { CertificateMetrics } from '@rbdferry/core/metrics/certificate-metrics.js';
import { ConnectionMetrics } from '@rbdferry/core/metrics/connection-metrics.js';
import { Latest, type LatestEntry } from '@rbdferry/core/metrics/latest.js';
import { addFoldedGauge, addLatestGauge } from '@rbdferry/core/metrics/latest-gauge.js';
import { createRegistry } from '@rbdferry/core/metrics/registry.js';
import { TransferMetrics } from '@rbdferry/core/metrics/transfer-metrics.js';
import { errorCodes, type ErrorCode } from '@rbdferry/core/errors/registry.js';
import { parseBackupId } from '@rbdferry/core/model/backup-id.js';
import type { Backup } from '@rbdferry/core/model/chain.js';
import { formatImageSpec } from '@rbdferry/core/model/image-spec.js';
import { software } from '@rbdferry/core/rpc/protocol.js';
import { refusalReasons, type RefusalReason } from './refused-clients.js';

const prefix = 'rbdferry_receiver_';

type Labels = Readonly<Record<'store' | 'image' | 'client', string>>;

interface Committed extends LatestEntry<Labels> {
  readonly backupId: string;
}

/** Everything the receiver tells Prometheus; docs/metrics.md explains each metric. */
export class ReceiverMetrics {
  readonly registry: Registry = createRegistry(prefix, software);
  readonly transfers = new TransferMetrics(prefix, this.registry);
  /** By client. */
  readonly connections = new ConnectionMetrics(prefix, 'client', this.registry);
  readonly certificates = new CertificateMetrics(prefix, this.registry, { isByReceiver: false });
  readonly #errors: Counter<'code'>;
  readonly #refused: Counter<'reason'>;
  readonly #committed = new Latest<Labels, Committed>();

  constructor() {
    const { registry } = this;
    this.#errors = new Counter({
      name: `${prefix}errors_total`,
      help: 'Calls that failed, by code of the error registry.',
      labelNames: ['code'],
      registers: [registry],
    });
    // Prometheus does not count what a series is born with: so each one is there before its first event.
    for (const code of errorCodes) this.#errors.inc({ code }, 0);
    this.#refused = new Counter({
      name: `${prefix}refused_total`,
      help: 'Connections refused in the TLS handshake, and calls of clients that the configuration does not let in.',
      labelNames: ['reason'],
      registers: [registry],
    });
    for (const reason of refusalReasons) this.#refused.inc({ reason }, 0);
    addLatestGauge(this.#committed, {
      name: `${prefix}last_committed_timestamp_seconds`,
      help: 'When the newest backup of an image was committed, in seconds since 1970.',
      labelNames: ['store', 'image', 'client'],
      valueOf: ({ atSeconds }) => atSeconds,
      registry,
    });
    addFoldedGauge(prefix, this.#committed, registry);
  }

  failed(code: ErrorCode): void {
    this.#errors.inc({ code });
  }

  refused(reason: RefusalReason): void {
    this.#refused.inc({ reason });
  }

  /** This backup was committed. */
  committed(backup: Backup): void {
    const entry = entryOf(backup);
    if (entry !== null) this.#committed.happened(entry);
  }

  /** These are there; of two of one image the newer one comes first. */
  exist(backups: Iterable<Backup>): void {
    for (const backup of backups) {
      const entry = entryOf(backup);
      if (entry !== null) this.#committed.found(entry);
    }
  }

  /** Forgets backups that are gone. Answers the images of which the newest one was among them. */
  removed(ids: readonly string[]): Labels[] {
    const gone = new Set(ids);
    const images: Labels[] = [];
    this.#committed.removeIf(({ backupId, labels }) => {
      if (!gone.has(backupId)) return false;
      images.push(labels);
      return true;
    });
    return images;
  }
}

/** Null for one of the older tool, which says nothing of its image and client, and is not counted. */
const entryOf = ({ id, source, client, committedAtMs }: Backup): Committed | null => {
  const parts = parseBackupId(id);
  if (source === null || client === null || !parts.ok) return null;
  const labels = { store: parts.value.store, image: formatImageSpec(source.identity.image), client };
  return { labels, atSeconds: committedAtMs / 1000, backupId: id };
};
