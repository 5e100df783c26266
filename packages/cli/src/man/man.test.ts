import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { createProgram } from '../program.js';
import { describe, expect, it } from 'vitest';
import { makeManPage, manPages } from './pages.js';
import { runCli } from '../../test/run-cli.js';
import { roff } from './roff.js';

const pathOf = (page: string) => fileURLToPath(new URL(`../../../../docs/man/${page}`, import.meta.url));

describe.each(manPages)('docs/man/%s', (page) => {
  it('is what the tree of commands makes', async () => {
    const words = `make it anew: node packages/cli/bin/rbdferry __man ${page} > docs/man/${page}`;
    expect(readFileSync(pathOf(page), 'utf8'), words).toBe(await makeManPage(page));
  });
});

it('tells of every verb and every option', async () => {
  const page = (await makeManPage('rbdferry.1')) ?? '';
  for (const verb of (await createProgram()).commands) {
    if (verb.name().startsWith('__')) expect(page).not.toContain(verb.name());
    else expect(page).toContain(`rbdferry ${roff(verb.name())}`);
    for (const { long } of verb.options) {
      if (!verb.name().startsWith('__')) expect(page).toContain(roff(long ?? ''));
    }
  }
});

it('the hidden verb knows its pages', async () => {
  expect(await runCli(['__man', 'rbd_backup.1'])).toMatchObject({
    status: 0,
    stdout: await makeManPage('rbd_backup.1'),
  });
  const { status, stderr } = await runCli(['__man', 'ls.1']);
  expect(status).toBe(2);
  expect(stderr).toContain('rbdferry.1, rbd_backup.1');
});

it.each([
  ['a-b', 'a\\-b'],
  ['.TH\n.x', '\\&.TH\n\\&.x'],
  ["'x", "\\&'x"],
  ['a\\b', 'a\\eb'],
])('roff of %j', (text, escaped) => {
  expect(roff(text)).toBe(escaped);
});
