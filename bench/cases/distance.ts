import { mkdtemp } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { sites, type ClientSettings } from '../distance/settings.js';
import { startWire, type Wire } from '../links/wire.js';
import type { ReportParts } from '../report/report.js';
import type { Case, CaseContext } from './case.js';

const program = (name: 'clusters' | 'clients'): string =>
  fileURLToPath(new URL(`../distance/${name}.js`, import.meta.url));

/** The distance between `rbd` and its cluster, the same on both sides: everything of Ceph is behind the wire. */
export const distanceCase: Case = async (context) => {
  const wire = await startWire(context.dir);
  try {
    for (const pattern of context.patterns) {
      for (const roundTripMs of context.quick ? [5] : [1, 5, 10]) {
        context.log(`-- ${pattern}, ${roundTripMs} ms`);
        await atDistance(wire, { roundTripMs, pattern }, context);
      }
    }
  } finally {
    await wire.stop();
  }
};

const atDistance = async (
  wire: Wire,
  what: Pick<ClientSettings, 'roundTripMs' | 'pattern'>,
  context: CaseContext,
): Promise<void> => {
  const { rounds, quick, report, adapter } = context;
  const dir = await mkdtemp(join(context.dir, 'far-'));
  await wire.setRoundTrip(0);
  const [enter = 'nsenter', ...words] = wire.atClusters;
  const clusters = execa('setpriv', ['--pdeathsig', 'TERM', enter, ...words, process.execPath, program('clusters')], {
    stdin: 'pipe',
    stderr: 'inherit',
    buffer: false,
    reject: false,
  });
  try {
    const [line = ''] = await Promise.race([
      once(createInterface({ input: clusters.stdout }), 'line'),
      clusters.then(() => []),
    ]);
    const settings: ClientSettings = {
      sites: sites.parse(JSON.parse(String(line))),
      dir,
      rounds,
      quick,
      adapter,
      ...what,
    };
    await wire.setRoundTrip(what.roundTripMs);
    const [program0 = 'nsenter', ...before] = wire.atClients;
    const { stdout } = await execa(
      'setpriv',
      ['--pdeathsig', 'TERM', program0, ...before, process.execPath, program('clients'), JSON.stringify(settings)],
      { stdin: 'ignore', stderr: 'inherit', timeout: 1_800_000 },
    );
    // Our own program wrote it.
    report.merge(JSON.parse(stdout) as ReportParts);
  } finally {
    clusters.stdin.end();
    await clusters;
  }
};
