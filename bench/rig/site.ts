import { execa } from 'execa';

/** A Ceph cluster as its clients know it. What `startCluster` answers is one. */
export interface Site {
  readonly confPath: string;
  readonly users: Readonly<
    Record<'admin' | 'agent' | 'receiver', { readonly name: string; readonly keyringPath: string }>
  >;
}

export type SiteUser = keyof Site['users'];

/** The pool of a cluster that the benchmark uses. */
export const sourcePool = 'rbd';
export const backupPool = 'rbd2';

/** Features that rbdferry gives to backup images; those of its peers get the same. */
export const backupFeatures = 'layering,exclusive-lock,object-map,fast-diff';

/** A whole command line of `rbd`. */
export const rbdWords = (site: Site, user: SiteUser, args: readonly string[]): string[] => [
  'rbd',
  '--conf',
  site.confPath,
  '--id',
  site.users[user].name,
  '--keyring',
  site.users[user].keyringPath,
  ...args,
];

export const cleanEnvironment = { PATH: process.env['PATH'], HOME: process.env['HOME'], LC_ALL: 'C', TZ: 'UTC' };

/** Runs `rbd` and answers its standard output. @throws after two minutes, or when it fails */
export const rbd = async (site: Site, user: SiteUser, args: readonly string[]): Promise<string> => {
  const [program = 'rbd', ...rest] = rbdWords(site, user, args);
  const { stdout } = await execa(program, rest, {
    env: cleanEnvironment,
    extendEnv: false,
    stdin: 'ignore',
    timeout: 120_000,
  });
  return stdout;
};

/** Removes an image and its snapshots. */
export const removeImage = async (site: Site, user: SiteUser, image: string): Promise<void> => {
  await rbd(site, user, ['snap', 'purge', '--no-progress', image]);
  await rbd(site, user, ['rm', '--no-progress', image]);
};

/** An empty image with the features that rbdferry gives to its backup images. */
export const createImage = async (site: Site, user: SiteUser, image: string, sizeBytes: number): Promise<void> => {
  await rbd(site, user, ['create', `--size=${sizeBytes}B`, `--image-feature=${backupFeatures}`, image]);
};
