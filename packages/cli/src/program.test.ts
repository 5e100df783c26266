import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { runCli } from '../test/run-cli.js';
import { createProgram } from './program.js';
import { verbs } from './verbs.js';

const helpOf = async (isWanted?: (verb: string) => boolean) => (await createProgram(isWanted)).helpInformation();

describe('a program whose verbs are not loaded', () => {
  it('has the same help', async () => {
    expect(await helpOf(() => false)).toBe(await helpOf());
    expect(await helpOf((verb) => verb === 'list')).toBe(await helpOf());
  });

  it.each(verbs.map(({ name }) => name))('loads %s under its name', async (name) => {
    const whole = (await createProgram()).commands.map((verb) => verb.name());
    expect(whole).toEqual(verbs.map((verb) => verb.name));
    const { commands } = await createProgram((verb) => verb === name);
    const [loaded, ...others] = commands.filter(
      (verb) => verb.description() !== '' || verb.registeredArguments.length > 0,
    );
    expect([loaded?.name(), others]).toEqual([name, []]);
  });

  it.each([
    [['help', 'list'], 'Lists the chains of an image'],
    [['--socket', '/nowhere', 'list', '--help'], 'Lists the chains of an image'],
    [['help', 'job'], 'show a job'],
    [['job', 'show', '--help'], 'Shows a job as it is now'],
    [['--help'], 'list chains and their backups'],
  ])('%j', async (args, words) => {
    const { status, stdout } = await runCli(args);
    expect(status).toBe(0);
    expect(stdout).toContain(words);
  });

  it('knows what a mistyped verb may mean', async () => {
    expect(await runCli(['lsit', 'backup'])).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('list?') as string,
    });
  });
});

const packages = fileURLToPath(new URL('../../', import.meta.url));
/** Imports that stay when types are gone. */
const staticImport = /^(?:import|export)\s(?!type\s)(?:[^'"]*?\sfrom\s+)?['"]([^'"]+)['"]/gm;

/** What loading a file loads with it: files of ours as paths, packages by name. */
const closureOf = (path: string, seen = new Set<string>()): Set<string> => {
  if (seen.has(path)) return seen;
  seen.add(path);
  for (const [, name = ''] of readFileSync(path, 'utf8').matchAll(staticImport)) {
    if (name.startsWith('.')) closureOf(resolve(dirname(path), name.replace(/\.js$/, '.ts')), seen);
    else if (name.startsWith('@rbdferry/core/'))
      closureOf(`${packages}core/src/${name.slice('@rbdferry/core/'.length).replace(/\.js$/, '.ts')}`, seen);
    else seen.add(name);
  }
  return seen;
};

describe('what is loaded', () => {
  const foreign = (file: string) =>
    [...closureOf(`${packages}cli/src/${file}`)].filter((name) => !name.startsWith('/') && !name.startsWith('node:'));
  const parsers = ['@commander-js/extra-typings', 'commander'];

  it.each(['main.ts', 'rbd-backup/main.ts'])('for a help by %s is the parser of command lines, and no verb', (file) => {
    expect(foreign(file).toSorted()).toEqual(parsers);
    expect([...closureOf(`${packages}cli/src/${file}`)].filter((name) => name.includes('/commands/'))).toEqual([]);
  });

  it.each(verbs.map(({ name }) => name))('with the verb %s is not what it does', (name) => {
    const file = `commands/${name.replace('__', '')}.ts`;
    expect(foreign(file).filter((each) => !parsers.includes(each))).toEqual([]);
  });

  it('before a job is asked for is what asks, and nothing that shows', () => {
    expect(foreign('client.ts').toSorted()).toEqual(['@bufbuild/protobuf/wire', '@grpc/grpc-js']);
    expect(foreign('run-job.ts').toSorted()).toEqual(['@bufbuild/protobuf/wire', '@grpc/grpc-js', 'commander']);
  });
});
