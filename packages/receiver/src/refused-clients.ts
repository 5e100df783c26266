import type { Logger } from '@rbdferry/core/log/logger.js';
import { tlsRefusals } from '@rbdferry/core/rpc/tls-refusal.js';

/** Why somebody was not let in: in the handshake, or because the configuration does not know the client, or not this certificate of it. */
export const refusalReasons = [...tlsRefusals, 'unknown_client', 'fingerprint'] as const;
export type RefusalReason = (typeof refusalReasons)[number];

export interface Refused {
  readonly reason: RefusalReason;
  /** The client's IP address; null when it cannot be told. */
  readonly address: string | null;
  readonly detail: string;
  /** Common name of the certificate, of somebody whose certificate is of our CA. */
  readonly client?: string | null;
}

/** What a minute's log may hold for each reason: a scanner must not fill it, nor hide with one reason what has another. */
const recordsPerMinute = 5;
const minuteMs = 60_000;

interface Minute {
  readonly sinceMs: number;
  told: number;
  untold: number;
}

export interface RefusedClientsOptions {
  readonly log: Logger;
  readonly onRefused: (reason: RefusalReason) => void;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/** Counts whom the receiver does not let in, and tells of them, but never more than a few records a minute. */
export class RefusedClients {
  readonly #options: RefusedClientsOptions;
  readonly #minutes = new Map<RefusalReason, Minute>();

  constructor(options: RefusedClientsOptions) {
    this.#options = options;
  }

  refused({ reason, address, detail, client }: Refused): void {
    const { log, onRefused, now } = this.#options;
    onRefused(reason);
    const minute = this.#minute(reason, now());
    if (minute.told >= recordsPerMinute) {
      minute.untold += 1;
      return;
    }
    minute.told += 1;
    const { untold } = minute;
    minute.untold = 0;
    // Whoever looks whether the port is open, as monitoring does, is no trouble.
    const level = reason === 'closed' ? 'debug' : 'warn';
    log[level]({ reason, address, client, error: detail, ...(untold > 0 && { untold }) }, 'refused a client');
  }

  /** What went untold in the minute before is told with the first record of the next one. */
  #minute(reason: RefusalReason, nowMs: number): Minute {
    const known = this.#minutes.get(reason);
    if (known !== undefined && nowMs >= known.sinceMs && nowMs < known.sinceMs + minuteMs) return known;
    const minute = { sinceMs: nowMs, told: 0, untold: known?.untold ?? 0 };
    this.#minutes.set(reason, minute);
    return minute;
  }
}
