import type { Adapter, AdapterChoice } from './adapter.js';
import { LibrbdCeph } from './librbd/librbd-ceph.js';
import { LibrbdHelper } from './librbd/librbd-helper.js';
import type { CephPort } from './port.js';
import { createRbdCli } from './rbd-cli.js';
import { defaultConcurrency, RbdRunner, type RbdCliOptions } from './rbd-runner.js';

export interface CephAndAdapter {
  readonly ceph: CephPort;
  readonly adapter: Adapter;
}

export type CephOptions = RbdCliOptions & { readonly adapter?: AdapterChoice | undefined };

/**
 * The port to a cluster, through what was chosen for it. To find out whether librbd can be used its helper is started, which takes a
 * tenth of a second; whether the cluster answers plays no part. With `librbd`, one that cannot be used fails every call with its reason.
 */
export const createCeph = async (options: CephOptions): Promise<CephAndAdapter> => {
  const { adapter = 'auto' } = options;
  const cli = createRbdCli(options);
  if (adapter === 'cli') return { ceph: cli, adapter: { kind: 'cli', why: 'the configuration says so' } };
  const { ceph, helper } = createLibrbd(options, cli);
  const tested = await helper.test();
  if (tested.kind === 'usable') return { ceph, adapter: { kind: 'librbd', why: `librbd ${tested.librbd} is there` } };
  if (adapter === 'librbd') return { ceph, adapter: { kind: 'librbd', why: `it cannot be used: ${tested.why}` } };
  await helper.end();
  return { ceph: cli, adapter: { kind: 'cli', why: `librbd cannot be used: ${tested.why}` } };
};

/** The port through librbd, with its helper; nothing is started yet. */
export const createLibrbd = (
  options: RbdCliOptions,
  cli: CephPort = createRbdCli(options),
): { ceph: CephPort; helper: LibrbdHelper } => {
  const runner = new RbdRunner(options);
  const { conf, user, keyring, concurrency = defaultConcurrency, log = silent } = options;
  const helper = new LibrbdHelper({ conf, user, keyring, concurrency, deadlines: runner.deadlines, log });
  const ceph = new LibrbdCeph({
    helper,
    cli,
    askForSpace: (asked, pool) => runner.askForSpace(asked, { pool }),
    fullMs: runner.deadlines.fullMs,
  });
  return { ceph, helper };
};

const silent = { debug: () => {}, warn: () => {} };
