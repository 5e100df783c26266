import { Gauge, type Registry } from 'prom-client';
import type { ImageLabels, Latest, LatestEntry } from './latest.js';

/** A gauge of what {@link Latest} knows, made anew for each scrape. */
export const addLatestGauge = <Labels extends ImageLabels, Entry extends LatestEntry<Labels>>(
  latest: Latest<Labels, Entry>,
  gauge: {
    readonly name: string;
    readonly help: string;
    readonly labelNames: readonly (keyof Labels & string)[];
    readonly valueOf: (entry: Entry) => number;
    readonly registry: Registry;
  },
): void => {
  const { name, help, labelNames, valueOf, registry } = gauge;
  registry.registerMetric(
    new Gauge({
      name,
      help,
      labelNames,
      registers: [],
      collect() {
        this.reset();
        for (const { labels, entry } of latest.series) this.set(labels, valueOf(entry));
      },
    }),
  );
};

/** How many images have no series of their own. */
export const addFoldedGauge = (prefix: string, latest: { readonly folded: number }, registry: Registry): void => {
  registry.registerMetric(
    new Gauge({
      name: `${prefix}images_folded`,
      help: 'Images that have no series of their own and share the one of image "other".',
      registers: [],
      collect() {
        this.set(latest.folded);
      },
    }),
  );
};
