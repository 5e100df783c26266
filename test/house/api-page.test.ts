import { fileURLToPath } from 'node:url';
import type { JsonValue } from '@bufbuild/protobuf';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { randomBytes } from '../ceph/image-content.js';
import { readApiPage } from '../harness/api-page.js';
import { Reflected, ReflectedError } from '../harness/reflected.js';
import { startHouse, type House } from './house.js';

/** docs/api.md, every line of it, sent to an agent by a client that knows only what reflection tells. */

const page = await readApiPage();
const root = fileURLToPath(new URL('../..', import.meta.url));
const control = 'rbdferry.v1.ControlService';

/** What the page calls the job, the chain's time and the second backup's time, and what they are called here. */
const names = { job: 'k3v9x2m7qa', chain: '2026-11-24.10:40:39.458883', second: '2026-11-24.22:40:43.707889' } as const;
const real = new Map<string, string>();

let house: House;
let agent: Reflected;
const firstContent = { sha256: '' };

beforeAll(async () => {
  house = await startHouse();
  agent = new Reflected(`unix:${house.socket}`);
  await house.source.create('rbd/vm1', { sizeBytes: 4_194_304n });
  house.source.write('rbd/vm1', 5000, randomBytes('api', 2_000_000));
  const id = await house.ok('backup', 'rbd/vm1');
  real.set(names.chain, timeOf(id));
  house.source.write('rbd/vm1', 900, randomBytes('page', 300_000));
  firstContent.sha256 = house.source.sha256('rbd/vm1');
});

afterAll(async () => {
  agent?.close();
  await house?.stop();
});

const timeOf = (id: string): string => /@(.*)\.snap$/.exec(id)?.[1] ?? '';

const withRealNames = (text: string): string =>
  [...real].reduce((so, [name, value]) => so.replaceAll(name, value), text);

/** The values of a message made comparable: numbers and ids are those of another day. */
const shapeOf = (value: JsonValue): JsonValue => {
  if (Array.isArray(value)) return value.map(shapeOf);
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, shapeOf(each)]));
  }
  if (typeof value !== 'string') return value;
  if (/^\d+$/.test(value)) return '(a number)';
  return /^[a-z2-9]{10}$/.test(value) ? '(a job id)' : value;
};

/** The JSON values that the page prints one after the other. */
const messagesIn = (output: string): JsonValue[] =>
  output === '' ? [] : (JSON.parse(`[${output.replaceAll(/^\}\n\{/gm, '},{')}]`) as JsonValue[]);

const jobOf = (answer: JsonValue | undefined): { id: string; backupId: string; committed?: object } =>
  (answer as { job: { id: string; backupId: string; committed?: object } }).job;

/** Runs a job to its end, as its caller would. */
const watched = async (id: string) => {
  const states = await agent.call(control, 'WatchJob', JSON.stringify({ jobId: id }));
  const last = jobOf(states.at(-1));
  expect(last).toMatchObject({ id, committed: {} });
  return last;
};

/** What an example leaves for those after it. */
const remember = async (method: string, answers: readonly JsonValue[]): Promise<void> => {
  if (method === 'StartBackup') {
    const { id } = jobOf(answers[0]);
    real.set(names.job, id);
    real.set(names.second, timeOf((await watched(id)).backupId));
  }
  if (method === 'StartRestore') {
    await watched(jobOf(answers[0]).id);
    expect(house.source.sha256('rbd/vm1-yesterday')).toBe(firstContent.sha256);
  }
};

describe('the questions of the page', () => {
  it('are there', () => {
    expect(page.questions.map(({ verb }) => verb)).toEqual(['list', 'describe']);
  });

  it.each(page.questions)('$verb $symbol', async ({ verb, symbol, output }) => {
    if (verb === 'list') expect((await agent.services()).join('\n')).toBe(output);
    else expect((await agent.describe(symbol)).getMessage(symbol)?.typeName).toBe(symbol);
  });

  it('an unknown symbol is refused', async () => {
    await expect(agent.describe('rbdferry.v1.Nothing')).rejects.toThrow('Nothing');
  });
});

describe('the calls of the page', () => {
  it.each(page.examples)('$method $request', async ({ service, method, request, output }) => {
    const call = agent.call(service, method, withRealNames(request));
    if (output.startsWith('ERROR:')) {
      const thrown = await call.catch((error: unknown) => error);
      expect(thrown).toBeInstanceOf(ReflectedError);
      const { code, message, details } = thrown as ReflectedError;
      expect(`ERROR:\n  Code: ${code}\n  Message: ${message}\n  Details:`).toBe(
        output.slice(0, output.indexOf('\n  1)')),
      );
      expect(details).toEqual([JSON.parse(output.slice(output.indexOf('{')))]);
      return;
    }
    const answers = await call;
    if (output !== '') expect(answers.map(shapeOf)).toEqual(messagesIn(withRealNames(output)).map(shapeOf));
    await remember(method, answers);
  });

  it('every rpc is on the page, and nearly every one in an example', async () => {
    const { methods = [] } = (await agent.describe(control)).getService(control) ?? {};
    expect(methods.length).toBeGreaterThan(10);
    const shown = new Set(page.examples.map(({ method }) => method));
    expect(methods.filter(({ name }) => !page.text.includes(`\`${name}\``)).map(({ name }) => name)).toEqual([]);
    expect(methods.filter(({ name }) => !shown.has(name)).map(({ name }) => name)).toEqual([]);
  });

  it('a request with a field that there is not is refused before it is sent', async () => {
    await expect(agent.call(control, 'GetJob', '{"job": "x"}')).rejects.toThrow('job');
  });
});

it('the program of the page prints the chains', async () => {
  await house.ok('backup', 'rbd/vm1');
  const program = page.program.replace('/run/rbdferry/agent.sock', house.socket);
  expect(program).not.toBe(page.program);
  const { stdout } = await execa(process.execPath, ['--input-type=module', '--eval', program], {
    cwd: root,
    timeout: 60_000,
  });
  const chains = JSON.parse(await house.ok('list', 'rbd/vm1', '--json')) as { name: string }[];
  expect(stdout.split('\n')).toEqual(chains.map(({ name }) => name));
});
