import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { applyWrites, randomBytes, sha256OfExport, startCluster, type Cluster } from '../ceph/cluster.js';
import { Machine } from '../harness/machine.js';

/** Does what README's "A pair in ten minutes" says, on two machines on which nobody has installed anything yet. */
let clusters: { readonly production: Cluster; readonly backup: Cluster };
let machines: { readonly production: Machine; readonly backup: Machine };

beforeAll(async () => {
  const [production, backup] = await Promise.all([
    startCluster({ name: 'readme-source', pools: ['rbd'] }),
    startCluster({ name: 'readme-backup' }),
  ]);
  clusters = { production, backup };
  await production.rbd(['create', '--size', '16M', 'rbd/vm1']);
  await applyWrites(production, 'rbd/vm1', [{ offset: 0, data: randomBytes('readme', 3_000_000) }]);
  machines = {
    production: await Machine.start(production, '127.0.0.1 backup1.example.com\n'),
    backup: await Machine.start(backup),
  };
});

afterAll(async () => {
  await Promise.all(Object.values(machines ?? {}).map((machine) => machine.stop()));
  await Promise.all(Object.values(clusters ?? {}).map((cluster) => cluster.stop()));
});

type Side = keyof typeof machines;

interface Block {
  /** The line of prose before it. */
  readonly above: string;
  readonly language: string;
  readonly text: string;
}

const blocksOf = (section: string): Block[] =>
  [...section.matchAll(/^ {3}```(\w*)\n(.*?)^ {3}```$/gms)].map(({ index, 1: language = '', 2: text = '' }) => ({
    above: section.slice(0, index).trimEnd().split('\n').at(-1) ?? '',
    language,
    text: text.replaceAll(/^ {3}/gm, ''),
  }));

/** The checkout is on the machine already, and built: that takes the network, and minutes. */
const isInstalled = (line: string): boolean => /^git clone |^cd \/opt\/rbdferry && npm ci /.test(line);

const runBlock = async (text: string): Promise<void> => {
  const [, side = '', user = ''] = /^# (both sides|backup side|production side), as (root|any user)$/m.exec(text) ?? [];
  const sides: Side[] =
    side === 'both sides' ? ['backup', 'production'] : [side === 'backup side' ? 'backup' : 'production'];
  expect(user, text).not.toBe('');
  const script = text
    .split('\n')
    .filter((line) => !isInstalled(line))
    .join('\n');
  for (const each of sides) await machines[each].run(script, user === 'root' ? 'root' : 'alice');
};

const copyCertificates = async (): Promise<void> => {
  for (const [side, name] of [
    ['backup', 'receiver'],
    ['production', 'agent1'],
  ] as const) {
    for (const file of ['ca.crt', `${name}.crt`, `${name}.key`]) {
      await copyFile(machines.backup.path(`home/alice/pki/${file}`), machines[side].path(`etc/rbdferry/${file}`));
    }
  }
};

/** The session with `$ `: runs each command as the user who was let in, with the ids that came out in place of those printed. */
const runSession = async (text: string): Promise<string[]> => {
  const printed: string[] = [];
  const real: string[] = [];
  const outputs: string[] = [];
  for (const line of text.trim().split('\n')) {
    if (!line.startsWith('$ ')) {
      printed.push(line);
      continue;
    }
    const command = printed.reduce((all, id, index) => all.replaceAll(id, real[index] ?? id), line.slice(2));
    const output = await machines.production.run(command, 'alice');
    outputs.push(output);
    if (command.includes(' backup ')) real.push(output);
  }
  return outputs;
};

describe('the README', () => {
  it('brings up a pair in ten minutes that backs up, lists and restores, for a user who is not root', async () => {
    const readme = await readFile(new URL('../../README.md', import.meta.url), 'utf8');
    const [, section = ''] = /^## A pair in ten minutes$(.*?)^## /ms.exec(readme) ?? [];
    const blocks = blocksOf(section);
    expect(blocks.length).toBe([...section.matchAll(/```/g)].length / 2);
    let outputs: string[] = [];
    for (const { above, language, text } of blocks) {
      const [, path] = /\*\*`\/([\w/.]+)`\*\* on the (?:backup|production) side:/.exec(above) ?? [];
      const side = above.includes('backup side') ? 'backup' : 'production';
      if (language === 'yaml') await writeFile(machines[side].path(path ?? ''), text);
      else if (text.startsWith('$ ')) outputs = await runSession(text);
      else await runBlock(text);
      if (text.includes('pki issue')) await copyCertificates();
    }
    const [first = '', second = '', list = ''] = outputs;
    for (const id of [first, second]) expect(id).toMatch(/^rbd2\/vm1\..*\.bkp\.image@.*\.snap$/);
    expect(list).toContain(second.split('@')[1] ?? '');
    expect(await sha256OfExport(clusters.production, 'rbd/vm1-yesterday')).toBe(
      await sha256OfExport(clusters.production, 'rbd/vm1'),
    );
    // Root needs no group.
    expect(await machines.production.run('rbdferry list rbd/vm1', 'root')).toBe(list);
    await expect(machines.backup.run('cat /etc/rbdferry/receiver.key', 'alice')).rejects.toThrow('Permission denied');
  });
});
