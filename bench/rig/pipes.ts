import { writeCacheArgs } from '@rbdferry/core/ceph/argv.js';
import { execa } from 'execa';
import type { Sample } from '../measure/turns.js';
import { send, startReceiver } from '../transport/pair.js';
import type { End } from '../transport/settings.js';
import { commandLine, runPipeline } from './shell.js';
import { backupFeatures, createImage, rbdWords, removeImage, type Site, type SiteUser } from './site.js';
import type { SshOptions, SshServer } from './ssh-server.js';

/** What a peer carries over: from a snapshot of an image (after another one) into an image on the other cluster. */
export interface Haul {
  readonly from: Site;
  readonly to: Site;
  /** `agent` on the source and `receiver` on the backup cluster, also in a restore. */
  readonly exporter: SiteUser;
  readonly importer: SiteUser;
  readonly image: string;
  readonly snap: string;
  readonly fromSnap?: string | undefined;
  readonly target: string;
  readonly bytes: number;
}

const exportDiff = ({ from, exporter, image, snap, fromSnap }: Haul, settings: readonly string[] = []): string => {
  const base = fromSnap === undefined ? [] : ['--from-snap', fromSnap];
  const words = ['export-diff', '--no-progress', ...settings, ...base, `${image}@${snap}`, '-'];
  return commandLine(rbdWords(from, exporter, words));
};

const importDiff = ({ to, importer, target }: Haul, settings: readonly string[] = []): string =>
  commandLine(rbdWords(to, importer, ['import-diff', '--no-progress', ...settings, '-', target]));

/** `rbd export-diff | rbd import-diff -` with their defaults. */
export const barePipe = async (haul: Haul): Promise<Sample> => {
  const { seconds } = await runPipeline(`${exportDiff(haul)} | ${importDiff(haul)}`);
  return { seconds, bytes: haul.bytes };
};

/** The same with what rbdferry tells `rbd`: what these settings give by themselves. */
export const tunedPipe = async (haul: Haul): Promise<Sample> => {
  const near = exportDiff(haul, ['--rbd-concurrent-management-ops=40']);
  const { seconds } = await runPipeline(`${near} | ${importDiff(haul, writeCacheArgs)}`);
  return { seconds, bytes: haul.bytes };
};

const endOf = ({ confPath, users }: Site, user: SiteUser, image: string): End => ({
  conf: confPath,
  user: users[user].name,
  keyring: users[user].keyringPath,
  image,
});

/**
 * A full through rbdferry's transport and `rbd` with rbdferry's settings, and nothing else: not checked, not digested, not
 * written down. What is left between this and `ssh` is gRPC in Node.js. `run` gets what carries the haul over.
 */
export const withTransportPipe = async <T>(
  pki: string,
  haul: Haul,
  run: (carry: () => Promise<Sample>) => Promise<T>,
): Promise<T> => {
  const { from, exporter, to, importer, image, snap, target, bytes } = haul;
  const receiver = await startReceiver(pki, { into: endOf(to, importer, target) });
  const source = { ...endOf(from, exporter, image), snap };
  try {
    return await run(() => send(pki, { port: receiver.port, receiver, bytes, from: source }));
  } finally {
    await receiver.stop();
  }
};

/** Bytes of the diff stream of a haul. */
export const streamBytes = async (haul: Haul): Promise<number> => {
  const { stdout } = await execa('bash', ['-o', 'pipefail', '-c', `${exportDiff(haul)} | wc -c`], { timeout: 120_000 });
  return Number(stdout);
};

/** The same through ssh. */
export const sshPipe = async (haul: Haul, ssh: SshServer, options: SshOptions): Promise<Sample> => {
  const far = await ssh.metered(importDiff(haul), options);
  const { seconds } = await runPipeline(`${exportDiff(haul)} | ${far}`);
  return { seconds, bytes: haul.bytes, cpu: await ssh.cpu() };
};

/** The old tool's way for a full: the raw image, `rbd export - | ssh rbd import -`. */
export const rawSshPipe = async (haul: Haul, ssh: SshServer, options: SshOptions): Promise<Sample> => {
  const near = commandLine(
    rbdWords(haul.from, haul.exporter, ['export', '--no-progress', `${haul.image}@${haul.snap}`, '-']),
  );
  const intoImage = ['import', '--no-progress', `--image-feature=${backupFeatures}`, '-', haul.target];
  const far = await ssh.metered(commandLine(rbdWords(haul.to, haul.importer, intoImage)), options);
  const { seconds } = await runPipeline(`${near} | ${far}`);
  return { seconds, bytes: haul.bytes, cpu: await ssh.cpu() };
};

/** Makes an empty image, lets `run` fill it, and removes it. */
export const intoNewImage = async (
  haul: Haul,
  imageBytes: number,
  run: (haul: Haul) => Promise<Sample>,
): Promise<Sample> => {
  await createImage(haul.to, haul.importer, haul.target, imageBytes);
  try {
    return await run(haul);
  } finally {
    await removeImage(haul.to, haul.importer, haul.target);
  }
};
