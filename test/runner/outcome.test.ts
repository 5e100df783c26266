import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import type { Outcome } from './outcome.js';
import { runVitest } from './run-vitest.js';

const outcomeOf = async (files: Readonly<Record<string, string>>): Promise<Outcome> => {
  const dir = await mkdtemp(join(tmpdir(), 'rbdferry-outcome-'));
  onTestFinished(() => rm(dir, { recursive: true }));
  const config = `export default { test: { globals: true, include: ['*.test.js'], maxWorkers: 1 } };`;
  for (const [name, text] of Object.entries({ 'vitest.config.js': config, ...files }))
    await writeFile(join(dir, name), text);
  return runVitest({ node: process.execPath, args: ['--root', dir], timeoutMs: 50_000 });
};

it('tells every way in which a run fails, also those that no test stands for', async () => {
  const outcome = await outcomeOf({
    'good.test.js': `it('is well', () => {}); it.skip('is left out', () => {});`,
    'bad.test.js': `describe('it', () => { it('fails', () => { throw new Error('no'); }); it('is well', () => {}); });`,
    'broken.test.js': `import './missing.js'; it('is never run', () => {});`,
    'hook.test.js': `describe('all', () => { beforeAll(() => { throw new Error('not begun'); }); it('waits', () => {}); });`,
    'later.test.js': `it('has left something', () => { setTimeout(() => { throw new Error('too late'); }); return new Promise((r) => setTimeout(r, 100)); });`,
  });
  expect(outcome).toMatchObject({ files: 5, passed: 3 });
  expect(outcome.failures.toSorted()).toEqual([
    'bad.test.js > it > fails: no',
    expect.stringMatching(/^broken\.test\.js: .*missing\.js/),
    'hook.test.js > all: not begun',
    'outside of every test: too late',
  ]);
});
