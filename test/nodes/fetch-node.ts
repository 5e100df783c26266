import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, readdir, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import type { NodeRelease } from './nodes.js';

export type Fetched =
  | { readonly kind: 'there'; readonly node: string }
  /** Not to be had on this machine, which proves nothing. */
  | { readonly kind: 'missing'; readonly why: string };

/**
 * The program of a release of Node.js, from the user's cache, or else from the npm package that holds it for this machine: `npm` fetches it from
 * wherever it fetches everything else, and no script of the package is run.
 *
 * @throws when what came is not what was asked for
 */
export const fetchNode = async ({ version, integrity }: NodeRelease): Promise<Fetched> => {
  const wanted = integrity[process.arch];
  if (process.platform !== 'linux' || wanted === undefined)
    return {
      kind: 'missing',
      why: `it is fetched for Linux on x64 and arm64, not for ${process.platform} on ${process.arch}`,
    };
  const cache = join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'rbdferry-nodes');
  const node = join(cache, `${version}-${process.arch}`);
  if (existsSync(node)) return { kind: 'there', node };
  await mkdir(cache, { recursive: true });
  const dir = await mkdtemp(join(cache, 'fetching-'));
  try {
    const name = `node-linux-${process.arch}@${version}`;
    // Without a network npm would try for minutes.
    const tries = ['--fetch-retries=1', '--fetch-retry-mintimeout=2000'];
    const packed = await execa('npm', ['pack', name, '--ignore-scripts', ...tries, '--pack-destination', dir], {
      stdin: 'ignore',
      all: true,
      reject: false,
      timeout: 120_000,
    });
    if (packed.failed) return { kind: 'missing', why: `npm pack ${name} failed: ${packed.all.trim().slice(-500)}` };
    const [file = ''] = await readdir(dir);
    const archive = join(dir, file);
    const came = `sha512-${createHash('sha512')
      .update(await readFile(archive))
      .digest('base64')}`;
    if (came !== wanted) throw new Error(`the npm package ${name} is not the one that is known: ${came}`);
    await execa('tar', ['-xzf', archive, '-C', dir, 'package/bin/node']);
    // At once, for whoever else looks for it meanwhile.
    await rename(join(dir, 'package/bin/node'), node);
    return { kind: 'there', node };
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
};
