import { stageNames, type Stages } from '../model/stages.js';

/** A transfer's stages as fields of a log record: the bottleneck, and for each stage that is known seconds and rate. */
export const describeStages = (stages: Stages): Record<string, unknown> => ({
  bottleneck: stages.bottleneck ?? 'unknown',
  stages: Object.fromEntries(
    stageNames.flatMap((name) => {
      const view = stages[name];
      if (view === null) return [];
      return [[name, { waitedSeconds: view.waitedMs / 1000, bytesPerSecond: view.bytesPerSecond ?? undefined }]];
    }),
  ),
});
