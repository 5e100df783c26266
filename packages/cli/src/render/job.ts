import { visible } from '../output.js';
import { stageNames } from '@rbdferry/core/model/stages.js';
import type { JobError, JobView, StagesView } from '../view/job.js';
import { duration, rate, time } from './human.js';
import { paintState, stateText, tookText } from './state.js';

/** A job with all that is known of it, a fact a line. */
export const jobText = (job: JobView, now: Date): string =>
  factsOf(job, now)
    .flatMap(([name, value, paint]) =>
      value === null || value === '' ? [] : [`${name.padEnd(12)}${(paint ?? String)(visible(value))}`],
    )
    .join('\n');

type Fact = [name: string, value: string | null, paint?: (text: string) => string];

const factsOf = (job: JobView, now: Date): Fact[] => [
  ['job', job.id],
  ['kind', job.kind],
  ['image', job.image],
  ['batch', job.parentId],
  ...childFacts(job),
  ['receiver', job.receiver],
  ['store', job.store],
  ['backup', job.backupId],
  ['backup kind', job.backupKind],
  ['limit', job.limitBytesPerSecond === null ? null : rate(job.limitBytesPerSecond)],
  ['attempt', job.attempt === 1 ? null : String(job.attempt)],
  ['state', stateText(job), paintState(job)],
  ['created', time(job.createdAt)],
  ['waited', job.startedAt === null ? null : duration(job.startedAt.getTime() - job.createdAt.getTime())],
  ['took', job.startedAt === null ? null : tookText(job, now)],
  ['ended', job.endedAt === null ? null : time(job.endedAt)],
  ...(job.state === 'running' || job.state === 'committed' ? stageFacts(job.stages) : []),
  ...endFacts(job),
];

const childFacts = ({ children }: JobView): Fact[] =>
  children === null
    ? []
    : [
        ['selection', children.selection],
        [
          'images',
          `${children.total}, ${children.committed} committed, ${children.failed + children.cancelled} failed`,
        ],
        [
          'spread',
          children.snapshotSpreadMs === null ? null : `snapshots within ${duration(children.snapshotSpreadMs)}`,
        ],
      ];

/** A line for each stage of the transfer that is known. */
const stageFacts = (stages: StagesView | null): Fact[] =>
  stages === null
    ? []
    : stageNames.map((name) => {
        const stage = stages[name];
        if (stage === null) return [name, null];
        const facts = [
          ...(stage.bytesPerSecond === null ? [] : [rate(stage.bytesPerSecond)]),
          `waited for ${duration(Number(stage.waitedMs))}`,
          ...(stages.bottleneck === name ? ['the bottleneck'] : []),
        ];
        return [name, facts.join(', ')];
      });

const endFacts = (job: JobView): Fact[] => {
  if (job.state === 'failed') return [...warningFacts(job.warnings), ...errorFacts('error', job.error)];
  if (job.state === 'queued') return job.lastError === null ? [] : errorFacts('last error', job.lastError);
  return job.state === 'committed' ? warningFacts(job.warnings) : [];
};

const warningFacts = (warnings: readonly string[]): Fact[] => warnings.map((warning) => ['warning', warning]);

const errorFacts = (name: string, { code, message, hint }: JobError): Fact[] => [
  [name, `${code}: ${message}`],
  ['hint', hint],
];
