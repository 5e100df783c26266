import { beforeEach, expect, it, vi } from 'vitest';
import { committed, failed, jobOf, running } from '../../test/fake-agent.js';
import * as output from '../output.js';
import { jobView, type JobView } from '../view/job.js';
import { batchOnTerminal } from './batch-progress.js';

vi.mock('../output.js', { spy: true });

let lines: string[];
beforeEach(() => {
  lines = [];
  vi.mocked(output.note).mockImplementation((text) => void lines.push(text));
});

const child = (id: string, state: ReturnType<typeof committed>): JobView =>
  jobView(jobOf(state, { id, image: `rbd/${id}` }));
const batch = (ended: number): JobView => {
  const counts = { selection: 'pool rbd', total: 3, committed: ended, failed: 0, cancelled: 0 };
  return { ...jobView(jobOf(running(1n))), kind: 'batch', children: { ...counts, snapshotSpreadMs: 5 } };
};

it('has a line for each job of a batch, once, also for those that end last', async () => {
  const [a, b, c] = [child('a', committed()), child('b', failed('NO_CHAIN', 'none', '')), child('c', running(1n))];
  const events: string[] = [];
  const bar = { update: () => void events.push('bar'), stop: () => void events.push('stop') };
  const asked: string[] = [];
  const display = batchOnTerminal((id) => (asked.push(id), Promise.resolve([a, c])), bar);
  await display.update(batch(0));
  expect([lines, asked]).toEqual([[], []]);
  await display.update(batch(1));
  await display.update(batch(1));
  expect(lines).toEqual([expect.stringMatching(/^rbd\/a: full, 1 GiB in /)]);
  expect(asked).toHaveLength(1);
  // The bar is not in the way of the line.
  expect(events).toEqual(['bar', 'stop', 'bar', 'bar']);
  display.rest([a, b, child('c', committed())]);
  expect(lines.slice(1)).toEqual(['rbd/b: failed: NO_CHAIN', expect.stringMatching(/^rbd\/c: full/)]);
});
