import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CephPort } from '@rbdferry/core/ceph/port.js';
import type { Adapter } from '@rbdferry/core/ceph/adapter.js';
import { createCeph } from '@rbdferry/core/ceph/create-ceph.js';
import { toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import { formatImageSpec, type ImageSpec } from '@rbdferry/core/model/image-spec.js';
import { execa } from 'execa';
import { sha256OfExport, startCluster, writeAt } from '../ceph/cluster.js';
import type { World } from './world.js';

const specOf = (image: ImageSpec, snap?: string): string =>
  snap === undefined ? formatImageSpec(image) : `${formatImageSpec(image)}@${snap}`;

export interface RbdWorldOptions {
  readonly name: string;
  /** Whose CephX key it has: one with `profile rbd` and nothing more. */
  readonly user: 'agent' | 'receiver';
  readonly adapter: Adapter['kind'];
}

/** A real cluster, and the port to it. */
export const startRbdWorld = async ({ name, user, adapter }: RbdWorldOptions): Promise<World> => {
  const cluster = await startCluster({ name, osds: 3, pools: ['rbd'], memstoreBytes: 1024 * 1024 * 1024 });
  await cluster.createPool('ec', { erasure: true });
  await cluster.createPool('secret', { rbd: false });
  await cluster.rbd(['namespace', 'create', 'rbd/ns']);
  const { keyringPath } = cluster.users[user];
  const { ceph } = await createCeph({ conf: cluster.confPath, user, keyring: keyringPath, adapter });
  const rbd = async (...args: string[]): Promise<string> => (await cluster.rbd(args)).stdout;
  return {
    ceph,
    fsid: cluster.fsid,
    manyBytes: 48 * 1024 * 1024,
    write: (image, offset, bytes) => writeAt(cluster, specOf(image), offset, bytes),
    resize: async (image, sizeBytes) => {
      await rbd('resize', '--allow-shrink', '--size', `${sizeBytes}B`, specOf(image));
    },
    sha256: (image, snap) => sha256OfExport(cluster, specOf(image, snap)),
    protect: async (image, snap) => {
      await rbd('snap', 'protect', specOf(image, snap));
    },
    unprotect: async (image, snap) => {
      await rbd('snap', 'unprotect', specOf(image, snap));
    },
    clone: async (parent, snap, child) => {
      await rbd('clone', '--rbd-default-clone-format=2', specOf(parent, snap), specOf(child));
    },
    flatten: async (image) => {
      await rbd('flatten', '--no-progress', specOf(image));
    },
    async whileInUse(image, use) {
      // It has the image open until its input ends. It does nothing else.
      const args = [...cluster.connectArgs('agent'), 'watch', specOf(image)];
      const client = execa('rbd', args, { reject: false, stdin: 'pipe', stdout: 'ignore', stderr: 'ignore' });
      try {
        for (let tries = 0; tries < 100 && (await ceph.watchers(image)).length === 0; tries += 1) await sleep(50);
        await use();
      } finally {
        client.kill('SIGKILL');
        await client;
      }
    },
    async breakOffRemoval(image) {
      // Now it takes some seconds.
      await rbd('resize', '--size', '128G', specOf(image));
      const controller = new AbortController();
      const removal = ceph.remove(image, controller).catch(() => {});
      while (await isThere(ceph, image)) await sleep(50);
      controller.abort();
      await removal;
    },
    async trashedUntil(imageId) {
      const lines = (await rbd('trash', 'ls', '--long', 'rbd')).split('\n');
      const text = /protected until (.*\d{4})/.exec(lines.find((line) => line.startsWith(imageId)) ?? '')?.[1];
      return new Date(`${text} UTC`);
    },
    async killChildren(verb) {
      for (const pid of await childPids(verb)) process.kill(pid, 'SIGKILL');
    },
    async importAndDie(image, bytes, meanwhile) {
      const options = { conf: cluster.confPath, user, keyring: keyringPath };
      const program = `
        import { createRbdCli } from '@rbdferry/core/ceph/rbd-cli.js';
        const sink = createRbdCli(${JSON.stringify(options)}).importDiff(${JSON.stringify(image)});
        for await (const chunk of process.stdin) await sink.write(chunk);
        console.log('written');
        setInterval(() => {}, 1000);`;
      const importer = execa(process.execPath, ['--input-type=module', '--eval', program], {
        reject: false,
        input: bytes,
        cwd: import.meta.dirname,
      });
      await once(importer.stdout, 'data');
      await meanwhile();
      importer.kill('SIGKILL');
      await importer;
    },
    stop: () => cluster.stop(),
  };
};

const isThere = async (ceph: CephPort, image: ImageSpec): Promise<boolean> => {
  try {
    await ceph.info(image);
    return true;
  } catch (thrown) {
    if (toFerryError(thrown).code === 'IMAGE_NOT_FOUND') return false;
    throw thrown;
  }
};

/** Our own children that run this verb. */
const childPids = async (verb: string): Promise<number[]> => {
  const pids = (await readFile(`/proc/${process.pid}/task/${process.pid}/children`, 'utf8'))
    .trim()
    .split(' ')
    .map(Number);
  const argv = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')));
  return pids.filter((_, index) => argv[index]?.split('\0').includes(verb));
};
