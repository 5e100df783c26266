import type { Logger } from '../log/logger.js';
import { FerryError } from '../errors/ferry-error.js';
import { certificateEnds, hintFor, type CertificateEnd } from './certificate-ends.js';
import type { TlsFiles } from './tls.js';

const dayMs = 86_400_000;
/** Time enough to renew it without haste. */
const soonMs = 30 * dayMs;

export interface CertificateWatchOptions {
  readonly log: Logger;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/** Warns of certificates that end within 30 days: when they are seen first, each day, and after {@link sayAgain}. */
export class CertificateWatch {
  readonly #options: CertificateWatchOptions;
  /** When each was warned of, in milliseconds since 1970. */
  readonly #warned = new Map<string, number>();

  constructor(options: CertificateWatchOptions) {
    this.#options = options;
  }

  /** Looks at the files. @param what named in the log @throws CONFIG_INVALID when one has ended or cannot be read; CONFIG_MISSING */
  async check(what: string, files: TlsFiles, onEnds: (ends: readonly CertificateEnd[]) => void): Promise<void> {
    const ends = await certificateEnds(files);
    onEnds(ends);
    const nowMs = this.#options.now();
    for (const end of ends) requireNotEnded(end, nowMs);
    for (const end of ends) if (end.endsAtMs - nowMs < soonMs) this.#warn(what, end, nowMs);
  }

  /** Somebody has changed something, and wants to hear what is still to be done. */
  sayAgain(): void {
    this.#warned.clear();
  }

  #warn(what: string, end: CertificateEnd, nowMs: number): void {
    const key = `${what} ${end.certificate}`;
    const agoMs = nowMs - (this.#warned.get(key) ?? -Infinity);
    if (agoMs >= 0 && agoMs < dayMs) return;
    this.#warned.set(key, nowMs);
    const { path, endsAtMs } = end;
    const daysLeft = Math.floor((endsAtMs - nowMs) / dayMs);
    const ends = new Date(endsAtMs).toISOString();
    this.#options.log.warn({ what, certificate: path, ends, daysLeft, hint: hintFor(end) }, 'a certificate ends soon');
  }
}

const requireNotEnded = (end: CertificateEnd, nowMs: number): void => {
  if (end.endsAtMs > nowMs) return;
  const at = new Date(end.endsAtMs).toISOString();
  throw new FerryError('CONFIG_INVALID', `the certificate ${JSON.stringify(end.path)} ended on ${at}`, {
    hint: hintFor(end),
  });
};
