import { Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { addFoldedGauge, addLatestGauge } from './latest-gauge.js';
import { Latest, maxImageSeries } from './latest.js';

interface Labels extends Readonly<Record<string, string>> {
  readonly image: string;
  readonly store: string;
}

const entry = (image: string, atSeconds: number, store = 's') => ({ labels: { image, store }, atSeconds });

const shown = (latest: Latest<Labels, ReturnType<typeof entry>>) =>
  latest.series.map(({ labels, entry }) => `${labels.store} ${labels.image} ${entry.atSeconds}`);

describe('the newest event of each image', () => {
  it('is what has happened last, whatever the clock said before', () => {
    const latest = new Latest<Labels, ReturnType<typeof entry>>();
    for (const at of [20, 900, 30]) latest.happened(entry('rbd/a', at));
    latest.happened(entry('rbd/a', 5, 't'));
    expect(shown(latest)).toEqual(['s rbd/a 30', 't rbd/a 5']);
  });

  it('is not replaced by what a look found that began before', () => {
    const latest = new Latest<Labels, ReturnType<typeof entry>>();
    latest.happened(entry('rbd/a', 30));
    latest.found(entry('rbd/a', 900));
    latest.found(entry('rbd/b', 20));
    expect(shown(latest)).toEqual(['s rbd/a 30', 's rbd/b 20']);
  });

  it('has a bound: the images that came last share a series with the oldest of them', () => {
    const latest = new Latest<Labels, ReturnType<typeof entry>>(2);
    for (const [image, at] of [
      ['rbd/a', 50],
      ['rbd/b', 40],
      ['rbd/c', 30],
      ['rbd/d', 20],
    ] as const)
      latest.happened(entry(image, at));
    latest.happened(entry('rbd/e', 60, 't'));
    expect(latest.folded).toBe(3);
    expect(shown(latest)).toEqual(['s rbd/a 50', 's rbd/b 40', 's other 20', 't other 60']);
    latest.happened(entry('rbd/d', 70));
    expect(shown(latest)).toContain('s other 30');
    latest.removeIf(({ labels }) => labels.image === 'rbd/a');
    expect(shown(latest)).toEqual(['s rbd/b 40', 's rbd/c 30', 's other 70', 't other 60']);
  });

  it('is a gauge that forgets what is gone and is never longer than its bound', async () => {
    const registry = new Registry();
    const latest = new Latest<Labels, ReturnType<typeof entry>>();
    addLatestGauge(latest, {
      name: 'last',
      help: 'x',
      labelNames: ['image', 'store'],
      valueOf: ({ atSeconds }) => atSeconds,
      registry,
    });
    addFoldedGauge('y_', latest, registry);
    const count = async () => (await registry.metrics()).split('\n').filter((line) => line.startsWith('last{')).length;
    for (let index = 0; index < maxImageSeries + 500; index += 1) latest.happened(entry(`rbd/${index}`, index));
    expect(await count()).toBe(maxImageSeries + 1);
    expect(await registry.metrics()).toContain('y_images_folded 500');
    latest.removeIf(({ atSeconds }) => atSeconds >= 3);
    expect(await count()).toBe(3);
  });
});
