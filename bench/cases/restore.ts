import { BackupMode } from '@rbdferry/core/gen/rbdferry/v1/control.js';
import type { Contender, Sample } from '../measure/turns.js';
import { fullGoals, pipe, subject, transferRows, transportRows, viaSsh } from '../report/transfer-rows.js';
import { MiB } from '../rig/content.js';
import { patternOf } from '../rig/patterns.js';
import { barePipe, intoNewImage, sshPipe, streamBytes, type Haul } from '../rig/pipes.js';
import { backupPool, createImage, removeImage, sourcePool } from '../rig/site.js';
import { fastCipher } from '../rig/ssh-server.js';
import { withStage, type Stage } from '../rig/stage.js';
import type { Case } from './case.js';
import { image, makeSource, measureJob, takeTurnsWithTransport } from './backups.js';

const restored = `${sourcePool}/restored`;
const peerBackup = `${backupPool}/peer`;

/** Restores into an image of a new name. */
export const restoreCase: Case = (context) =>
  withStage(context, async (stage) => {
    const { source, backup, ferry, ssh } = stage;
    const pattern = patternOf('incompressible', (context.quick ? 256 : 1024) * MiB);
    await makeSource(stage, pattern);
    const { backupId } = await ferry.control.backup(image, BackupMode.FULL);
    await createImage(backup, 'receiver', peerBackup, pattern.imageBytes);
    await barePipe({
      from: source,
      to: backup,
      exporter: 'agent',
      importer: 'receiver',
      image,
      snap: 'peer-0',
      target: peerBackup,
      bytes: 0,
    });
    const back = (target: string, bytes: number): Haul => ({
      from: backup,
      to: source,
      exporter: 'receiver',
      importer: 'agent',
      image: peerBackup,
      snap: 'peer-0',
      target: `${sourcePool}/${target}`,
      bytes,
    });
    const bytes = await streamBytes(back('', 0));
    const throughSsh = (haul: Haul) => sshPipe(haul, ssh, { cipher: fastCipher });
    const contenders: Contender[] = [
      { name: subject, run: () => ferryRestore(stage, backupId) },
      { name: pipe, run: () => intoNewImage(back('pipe', bytes), pattern.imageBytes, barePipe) },
      { name: viaSsh, run: () => intoNewImage(back('ssh', bytes), pattern.imageBytes, throughSsh) },
    ];
    const transport = { pki: ferry.pki, haul: back('direct', bytes), imageBytes: pattern.imageBytes };
    const turns = await takeTurnsWithTransport(contenders, transport, context);
    const name = 'restore, incompressible';
    context.report.keep(name, turns);
    context.report.add(...transferRows(name, turns, fullGoals), ...transportRows(name, turns));
  });

const ferryRestore = async ({ ferry, source }: Stage, backupId: string): Promise<Sample> => {
  const sample = await measureJob(ferry, () => ferry.control.restore(backupId, restored));
  await removeImage(source, 'agent', restored);
  return sample;
};
