import { Gauge, type Registry } from 'prom-client';

/** Until when certificates are good. */
export interface KnownEnd {
  readonly certificate: 'own' | 'ca';
  /** Milliseconds since 1970. */
  readonly endsAtMs: number;
}

/** The ends of a daemon's certificates; of an agent for each receiver of its configuration. */
export class CertificateMetrics {
  readonly #ends = new Map<string, readonly KnownEnd[]>();

  /** @param isByReceiver whether they have a label with the receiver's name */
  constructor(prefix: string, registry: Registry, { isByReceiver }: { readonly isByReceiver: boolean }) {
    const ends = this.#ends;
    registry.registerMetric(
      new Gauge({
        name: `${prefix}certificate_end_timestamp_seconds`,
        help: 'When the certificate ends, in seconds since 1970.',
        labelNames: isByReceiver ? ['receiver', 'certificate'] : ['certificate'],
        registers: [],
        collect() {
          this.reset();
          for (const [receiver, known] of ends) {
            for (const { certificate, endsAtMs } of known) {
              this.set(isByReceiver ? { receiver, certificate } : { certificate }, endsAtMs / 1000);
            }
          }
        },
      }),
    );
  }

  /** These are the ones for this receiver. @param receiver '' where there is no such label */
  saw(receiver: string, ends: readonly KnownEnd[]): void {
    this.#ends.set(receiver, ends);
  }

  /** Forgets those of all other receivers. */
  keep(receivers: readonly string[]): void {
    for (const name of this.#ends.keys()) if (!receivers.includes(name)) this.#ends.delete(name);
  }
}
