import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { SetupError } from './setup-error.js';

export const USAGE = `usage: npm run test:releases -- [OPTION]... [-- VITEST_OPTION...]

Runs the tests of the contract, end to end and of faults on other releases of Ceph, each in a root folder of a Debian suite. Needs root.

  --release SUITE   only this one (trixie: Ceph 18, sid: Ceph 20); may be given again
  --only TEXT       only test files whose path contains TEXT, such as "contract" or "e2e/changes"; may be given again
  --keep            take a root folder that is there as it is; without it, it is brought up to what the mirror has now
  --mirror URL      Debian's mirror; default: that of this machine's apt
  --cache DIR       where the root folders are, 1 GB each; default: rbdferry-releases in the user's cache folder
  --help            this text`;

/** Debian's suites, with the release of Ceph that each had when this was written. Debian 12 has the one that `npm test` takes. */
export const SUITES = ['trixie', 'sid'] as const;
export type Suite = (typeof SUITES)[number];

const EVERYTHING = ['test/contract/', 'test/e2e/', 'test/faults/'];

export interface Options {
  readonly suites: readonly Suite[];
  /** Parts of the paths of the test files that are run. */
  readonly only: readonly string[];
  readonly keep: boolean;
  readonly mirror: string | undefined;
  readonly cacheDir: string;
  /** What stands behind `--`. */
  readonly vitestArgs: readonly string[];
}

/** Reads the command line. @throws SetupError that says what is wrong with it; 'help' when only that was asked for */
export function parseOptions(args: readonly string[], env: NodeJS.ProcessEnv = process.env): Options | 'help' {
  const end = args.includes('--') ? args.indexOf('--') : args.length;
  const { help, release, only, keep, mirror, cache } = parse(args.slice(0, end));
  if (help) return 'help';
  const cacheHome = env['XDG_CACHE_HOME'] || join(homedir(), '.cache');
  return {
    suites: SUITES.filter((suite) => release === undefined || release.map(parseSuite).includes(suite)),
    only: only ?? EVERYTHING,
    keep,
    mirror,
    cacheDir: resolve(cache ?? join(cacheHome, 'rbdferry-releases')),
    vitestArgs: args.slice(end + 1),
  };
}

function parse(args: string[]) {
  try {
    return parseArgs({
      args,
      options: {
        release: { type: 'string', multiple: true },
        only: { type: 'string', multiple: true },
        keep: { type: 'boolean', default: false },
        mirror: { type: 'string' },
        cache: { type: 'string' },
        help: { type: 'boolean', default: false },
      },
    }).values;
  } catch (error) {
    throw new SetupError(error instanceof Error ? error.message : String(error), USAGE);
  }
}

function parseSuite(text: string): Suite {
  const suite = SUITES.find((known) => known === text);
  if (suite === undefined) throw new SetupError(`there is no release "${text}"`, `one of ${SUITES.join(', ')}`);
  return suite;
}
