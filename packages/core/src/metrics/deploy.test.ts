import { readFile } from 'node:fs/promises';
import { beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';

/** What lies in deploy/ speaks of metrics that exist: of those in docs/metrics.md, which test/e2e compares with the daemons. */

const read = (path: string) => readFile(new URL(`../../../../${path}`, import.meta.url), 'utf8');

/** Labels by metric. */
const documented = new Map<string, ReadonlySet<string>>();

beforeAll(async () => {
  const rows = (await read('docs/metrics.md')).matchAll(/^\| `(rbdferry_\w+)` +\| \w+ +\| ([^|]*)\|/gm);
  for (const [, name = '', labels = ''] of rows) {
    documented.set(name, new Set([...labels.matchAll(/`(\w+)`/g)].map(([, label = '']) => label)));
  }
});

/** What Prometheus itself gives, and what prom-client tells of the process. */
const isForeign = (metric: string) => /^(?:up|process_\w+|nodejs_\w+)$/.test(metric);
const scrapeLabels = ['instance', 'job'];

/** Names of metrics in an expression: what no bracket or brace follows, beside keywords and labels. */
const metricsIn = (expression: string): string[] => {
  const bare = expression.replaceAll(/"[^"]*"/g, '""').replaceAll(/\b(?:by|without|on|ignoring) \([^)]*\)/g, '');
  return [...bare.replaceAll(/\{[^}]*\}/g, '').matchAll(/(?<![$\w])[a-z_]\w*(?![\w(]| *\()/g)]
    .map(([name]) => name)
    .filter((name) => !['and', 'or', 'unless', 'bool', 'by', 's', 'm', 'h', 'd'].includes(name));
};

const labelsIn = (expression: string): string[] => [
  ...[...expression.matchAll(/\{([^}]*)\}/g)].flatMap(([, inside = '']) =>
    [...inside.matchAll(/(\w+) *(?:=~|!~|!=|=)/g)].map(([, label = '']) => label),
  ),
  ...[...expression.matchAll(/\b(?:by|without|on|ignoring) \(([^)]*)\)/g)].flatMap(([, inside = '']) =>
    inside.split(/,\s*/),
  ),
];

const expectKnown = (expression: string) => {
  const metrics = metricsIn(expression);
  expect(metrics.length, expression).toBeGreaterThan(0);
  for (const metric of metrics)
    expect(isForeign(metric) || documented.has(metric), `${metric} in ${expression}`).toBe(true);
  const labels = new Set([...scrapeLabels, ...metrics.flatMap((metric) => [...(documented.get(metric) ?? [])])]);
  for (const label of labelsIn(expression)) expect([...labels], expression).toContain(label);
};

describe('reading expressions', () => {
  it('finds metrics and labels, and no functions, keywords and texts', () => {
    const expression = 'sum by (a, b) (rate(x_total{c=~"y|z", d!="up"}[5m])) / on (e) max(w) > 26 * 3600 or vector(0)';
    expect(metricsIn(expression)).toEqual(['x_total', 'w']);
    expect(labelsIn(expression)).toEqual(['c', 'd', 'a', 'b', 'e']);
  });
});

const targetSchema = z.object({
  refId: z.string().regex(/^[A-Z]$/),
  expr: z.string().min(1),
  datasource: z.object({ type: z.literal('prometheus'), uid: z.literal('${datasource}') }),
});

const gridSchema = z.object({ x: z.int(), y: z.int(), w: z.int().min(1), h: z.int().min(1) });

const panelSchema = z.discriminatedUnion('type', [
  z.object({ type: z.literal('row'), id: z.int(), title: z.string().min(1), gridPos: gridSchema }),
  z.object({
    type: z.enum(['timeseries', 'stat', 'table']),
    id: z.int(),
    title: z.string().min(1),
    gridPos: gridSchema,
    datasource: z.object({ type: z.literal('prometheus'), uid: z.literal('${datasource}') }),
    targets: z.array(targetSchema).min(1),
    fieldConfig: z.object({ defaults: z.record(z.string(), z.unknown()), overrides: z.array(z.unknown()) }),
    options: z.record(z.string(), z.unknown()),
  }),
]);

const dashboardSchema = z.object({
  uid: z.string().regex(/^[\w-]{1,40}$/),
  title: z.string().min(1),
  // Of Grafana 10; newer ones migrate it when they load it.
  schemaVersion: z.literal(39),
  time: z.object({ from: z.string(), to: z.string() }),
  templating: z.object({ list: z.array(z.object({ name: z.string(), type: z.enum(['datasource', 'query']) })) }),
  panels: z.array(panelSchema).min(1),
  // A dashboard that carries the id of somebody's database replaces another one there.
  id: z.undefined().optional(),
});

describe('deploy/grafana-dashboard.json', () => {
  const load = async () => dashboardSchema.parse(JSON.parse(await read('deploy/grafana-dashboard.json')));

  it('has the shape of a dashboard, its panels side by side', async () => {
    const { panels, templating } = await load();
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    expect(templating.list.map(({ name }) => name)).toEqual(['datasource', 'instance']);
    const taken = new Set<string>();
    for (const { title, gridPos } of panels) {
      expect(gridPos.x + gridPos.w, title).toBeLessThanOrEqual(24);
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x += 1) {
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y += 1) {
          expect(taken.has(`${x} ${y}`), title).toBe(false);
          taken.add(`${x} ${y}`);
        }
      }
    }
  });

  it('asks for metrics and labels that there are, and leaves none out', async () => {
    const { panels } = await load();
    const expressions = panels.flatMap((panel) => (panel.type === 'row' ? [] : panel.targets.map(({ expr }) => expr)));
    for (const expression of expressions) expectKnown(expression);
    const shown = new Set(expressions.flatMap(metricsIn));
    const left = [...documented.keys()].filter((metric) => !shown.has(metric));
    expect(left).toEqual([]);
  });
});

describe('deploy/prometheus-alerts.yaml', () => {
  it('asks for metrics and labels that there are', async () => {
    const rule = z.strictObject({
      alert: z.string().regex(/^Rbdferry[A-Za-z]+$/),
      expr: z.string(),
      for: z.string().optional(),
      labels: z.strictObject({ severity: z.enum(['critical', 'warning', 'info']) }),
      annotations: z.strictObject({ summary: z.string(), description: z.string() }),
    });
    const schema = z.strictObject({ groups: z.array(z.strictObject({ name: z.string(), rules: z.array(rule) })) });
    const { groups } = schema.parse(parse(await read('deploy/prometheus-alerts.yaml')));
    const rules = groups.flatMap(({ rules }) => rules);
    expect(rules.length).toBeGreaterThan(0);
    for (const { expr } of rules) expectKnown(expr);
  });
});

describe('the example configurations', () => {
  it.each(['agent', 'receiver'])('of the %s names a metrics address as the schema wants it', async (daemon) => {
    const [, line = ''] = /^# (metrics: .*)$/m.exec(await read(`deploy/${daemon}.example.yaml`)) ?? [];
    const { metricsSchema } = await import('../config/schemas.js');
    expect(metricsSchema.parse((parse(line) as { metrics: unknown }).metrics).listen).toMatch(/^127\.0\.0\.1:97\d\d$/);
  });
});
