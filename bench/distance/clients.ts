import { fulls, increments, makeSource } from '../cases/backups.js';
import { together } from '../cases/night.js';
import { clientHost } from '../links/wire.js';
import { Report } from '../report/report.js';
import { farGoals } from '../report/transfer-rows.js';
import { MiB } from '../rig/content.js';
import { patternOf } from '../rig/patterns.js';
import { withClients } from '../rig/stage.js';
import { clientSettings } from './settings.js';

/** Measures where the clients are, and prints the report as JSON. */
const settings = clientSettings.parse(JSON.parse(process.argv[2] ?? ''));
const { dir, rounds, quick, roundTripMs, adapter } = settings;
const log = (line: string): void => {
  console.error(line);
};

const report = new Report();
const where = `, ${roundTripMs} ms to the OSDs`;
const goals = settings.pattern === 'small' && roundTripMs === 5 ? { increment: farGoals } : {};
const context = { dir, rounds, quick, adapter, log, report, patterns: [settings.pattern], where, goals };
await withClients({ dir, host: clientHost, adapter, ...settings.sites }, async (stage) => {
  const pattern = patternOf(settings.pattern, 256 * MiB);
  await makeSource(stage, pattern);
  // Where the distance tells most, for those in a hurry.
  const parts = { fulls: !quick || settings.pattern !== 'small', increments: !quick || settings.pattern === 'small' };
  if (parts.fulls) await fulls(stage, pattern, context);
  if (parts.increments) await increments(stage, pattern, context);
  // What is made of commands, and not of bytes.
  if (settings.pattern === 'small' && roundTripMs >= 5) await together(stage, quick ? [10] : [10, 20], context);
});
const { rows, raw, notes } = report;
console.log(JSON.stringify({ rows, raw, notes }));
