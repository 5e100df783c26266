import { Gauge, type Registry } from 'prom-client';

export interface ConnectionFacts {
  /** Flow-control window towards the peer, in bytes. */
  readonly windowBytes?: number;
  readonly roundTripSeconds?: number;
}

/** What is known of the way to each peer. Peers are those of the configuration, so there are no more series than that. */
export class ConnectionMetrics<Peer extends 'receiver' | 'client'> {
  readonly #window: Gauge<Peer>;
  readonly #roundTrip: Gauge<Peer>;
  readonly #label: Peer;

  /** @param label the name of the label that holds the peer's name */
  constructor(prefix: string, label: Peer, registry: Registry) {
    this.#label = label;
    this.#window = new Gauge({
      name: `${prefix}window_bytes`,
      help: `Flow-control window of the newest connection with the ${label}.`,
      labelNames: [label],
      registers: [registry],
    });
    this.#roundTrip = new Gauge({
      name: `${prefix}round_trip_seconds`,
      help: `Round trip to the ${label}, as last measured.`,
      labelNames: [label],
      registers: [registry],
    });
  }

  /** What was found out; what is left out stays as it is. */
  saw(peer: string, { windowBytes, roundTripSeconds }: ConnectionFacts): void {
    const labels = { [this.#label]: peer } as Record<Peer, string>;
    if (windowBytes !== undefined) this.#window.set(labels, windowBytes);
    if (roundTripSeconds !== undefined) this.#roundTrip.set(labels, roundTripSeconds);
  }
}
