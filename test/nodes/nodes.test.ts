import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { describe, expect, it } from 'vitest';
import { runVitest } from '../runner/run-vitest.js';
import { fetchNode } from './fetch-node.js';
import { nodeReleases } from './nodes.js';

/** What depends on Node, on its private parts above all (sockets, HTTP/2, TLS, digests, zstd), and a backup and a restore through all of it. */
const transferTests = [
  'packages/core/src/rpc/calls',
  'packages/core/src/rpc/damaged-wire',
  'packages/core/src/rpc/dead-connection',
  'packages/core/src/rpc/grpc-hot-path',
  'packages/core/src/rpc/tls.test',
  'packages/core/src/ceph/gathered-output',
  'packages/core/src/compress/compress',
  'packages/core/src/transfer/stream-digest',
  'test/house/wire-',
];

const textOf = (file: string): string => readFileSync(fileURLToPath(new URL(`../../${file}`, import.meta.url)), 'utf8');
const versions = nodeReleases.map(({ version }) => version);

it('are the oldest and the newest that the README names', () => {
  const named = /You need Node\.js ([\d.]+) or\s+newer; ((?:\d+(?:, | and )?)+) were tried too/.exec(
    textOf('README.md'),
  );
  const newest = named?.[2]?.match(/\d+/g)?.at(-1);
  expect(versions).toEqual([`${named?.[1]}.0`, expect.stringMatching(new RegExp(`^${newest}\\.`))]);
  expect(JSON.parse(textOf('package.json'))).toMatchObject({ engines: { node: `>=${named?.[1]}` } });
});

describe.each(nodeReleases)('Node.js $version', (release) => {
  it('passes the tests of transfers', async ({ skip }) => {
    const fetched = await fetchNode(release);
    if (fetched.kind === 'missing') {
      console.warn(`Node.js ${release.version} is not to be had here, and nothing was tested on it: ${fetched.why}`);
      return skip(fetched.why);
    }
    const { node } = fetched;
    expect((await execa(node, ['--version'])).stdout).toBe(`v${release.version}`);
    const projects = ['--project=unit', '--project=unit-alone'];
    const { failures, files, passed } = await runVitest({
      node,
      args: [...projects, ...transferTests],
      timeoutMs: 590_000,
    });
    expect(failures, `on Node.js ${release.version}`).toEqual([]);
    expect(files).toBeGreaterThanOrEqual(transferTests.length);
    expect(passed).toBeGreaterThan(100);
  });
});
