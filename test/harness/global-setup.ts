import { ensureCeph } from '../ceph/install.js';

/** Before the first test on real Ceph: the Debian packages. */
export default async function setup(): Promise<void> {
  await ensureCeph({ log: (line) => process.stderr.write(`${line}\n`) });
}
