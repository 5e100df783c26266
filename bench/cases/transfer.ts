import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { fullGoals } from '../report/transfer-rows.js';
import { MiB } from '../rig/content.js';
import { patternOf, type Pattern } from '../rig/patterns.js';
import { withStage, type Stage } from '../rig/stage.js';
import { fulls, increments, makeSource, type BackupContext } from './backups.js';
import type { Case } from './case.js';

/** Full and incremental backups between two real clusters on loopback. */
export const transferCase: Case = async (context) => {
  for (const name of context.patterns) {
    context.log(`-- ${name}`);
    const goals = name === 'incompressible' ? { full: fullGoals } : {};
    await onFreshStage(patternOf(name, (context.quick ? 256 : 1024) * MiB), fulls, { ...context, goals });
    // A changed object is copied as a whole for each snapshot, in memory here: smaller images.
    await onFreshStage(patternOf(name, (context.quick ? 256 : 512) * MiB), increments, context);
  }
};

type Part = (stage: Stage, pattern: Pattern, context: BackupContext) => Promise<void>;

const onFreshStage = async (pattern: Pattern, part: Part, context: BackupContext): Promise<void> => {
  const dir = await mkdtemp(join(context.dir, 'stage-'));
  await withStage({ ...context, dir }, async (stage) => {
    await makeSource(stage, pattern);
    await part(stage, pattern, context);
  });
};
