/** More images than this have no series of their own: what a scrape costs must not depend on what users name. */
export const maxImageSeries = 1000;

/** The image of the series that stands for all the others. Every real image has a pool before a slash. */
const others = 'other';

export interface ImageLabels extends Readonly<Record<string, string>> {
  readonly image: string;
}

export interface LatestEntry<Labels extends ImageLabels> {
  readonly labels: Labels;
  /** Seconds since 1970. */
  readonly atSeconds: number;
}

/**
 * The newest event of each image. The first so many images have a series each; all that come later share one (for each combination
 * of the other labels) that shows the oldest among them, so that an alert on age still fires.
 */
export class Latest<Labels extends ImageLabels, Entry extends LatestEntry<Labels>> {
  readonly #entries = new Map<string, Entry>();
  readonly #max: number;

  constructor(max: number = maxImageSeries) {
    this.#max = max;
  }

  /** It has just happened, so it is the newest, whatever the clock says. */
  happened(entry: Entry): void {
    this.#entries.set(JSON.stringify(entry.labels), entry);
  }

  /** It was the newest when somebody looked: what has happened since stays. */
  found(entry: Entry): void {
    const key = JSON.stringify(entry.labels);
    if (!this.#entries.has(key)) this.#entries.set(key, entry);
  }

  removeIf(matches: (entry: Entry) => boolean): void {
    for (const [key, entry] of this.#entries) if (matches(entry)) this.#entries.delete(key);
  }

  get entries(): Iterable<Entry> {
    return this.#entries.values();
  }

  /** Images without a series of their own. */
  get folded(): number {
    return Math.max(0, this.#entries.size - this.#max);
  }

  /** What to show: labels and the entry, as many as there may be. */
  get series(): { readonly labels: Labels; readonly entry: Entry }[] {
    const entries = [...this.#entries.values()];
    const own = entries.slice(0, this.#max).map((entry) => ({ labels: entry.labels, entry }));
    const shared = new Map<string, { labels: Labels; entry: Entry }>();
    for (const entry of entries.slice(this.#max)) {
      const labels = { ...entry.labels, image: others };
      const key = JSON.stringify(labels);
      const oldest = shared.get(key);
      if (oldest === undefined || entry.atSeconds < oldest.entry.atSeconds) shared.set(key, { labels, entry });
    }
    return [...own, ...shared.values()];
  }
}
