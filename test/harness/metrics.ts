import type { Daemon } from './daemon.js';

/** What a daemon tells Prometheus. */
export interface Scrape {
  readonly text: string;
  /** Type and label names of each metric of ours; what Node itself tells is left out. */
  readonly metrics: ReadonlyMap<string, { readonly type: string; readonly labels: ReadonlySet<string> }>;
  /** The value of a series; 0 when it is not there, as a counter that was never counted. */
  value(name: string, labels?: Readonly<Record<string, string>>): number;
}

interface Series {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** Reads `/metrics` of a daemon whose configuration asks for it. */
export const scrape = async (daemon: Pick<Daemon, 'waitFor'>): Promise<Scrape> => {
  const { port } = await daemon.waitFor('metrics');
  const text = await (await fetch(`http://127.0.0.1:${Number(port)}/metrics`)).text();
  const lines = text.split('\n');
  const series = lines.filter((line) => line !== '' && !line.startsWith('#')).map(seriesOf);
  const typed = lines.flatMap((line) => {
    const [, name = '', type = ''] = /^# TYPE (rbdferry_\w+) (\w+)$/.exec(line) ?? [];
    return name === '' ? [] : [[name, type] as const];
  });
  return {
    text,
    metrics: new Map(
      typed.map(([name, type]) => {
        const own = series.filter((each) => each.name === name);
        return [name, { type, labels: new Set(own.flatMap(({ labels }) => Object.keys(labels))) }];
      }),
    ),
    value(name, labels = {}) {
      const wanted = Object.entries(labels);
      return series
        .filter((each) => each.name === name && wanted.every(([key, value]) => each.labels[key] === value))
        .reduce((sum, { value }) => sum + value, 0);
    },
  };
};

const seriesOf = (line: string): Series => {
  const [, name = '', inBraces = '', value = ''] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
  const pairs = [...inBraces.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, key = '', text = '']) => [key, text]);
  return { name, labels: Object.fromEntries(pairs) as Record<string, string>, value: Number(value) };
};

/** A table row of docs/metrics.md. */
export interface DocumentedMetric {
  readonly type: string;
  readonly labels: ReadonlySet<string>;
}

/** The metrics that the page documents, by name. */
export const documentedMetrics = (page: string): ReadonlyMap<string, DocumentedMetric> =>
  new Map(
    [...page.matchAll(/^\| `(rbdferry_\w+)` +\| (\w+) +\| ([^|]*)\|/gm)].map(
      ([, name = '', type = '', labels = '']) => [
        name,
        { type, labels: new Set([...labels.matchAll(/`(\w+)`/g)].map(([, label = '']) => label)) },
      ],
    ),
  );
