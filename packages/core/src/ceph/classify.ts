import type { ErrorCode } from '../errors/registry.js';
import type { ChildEnd } from './child.js';
import { linesOf } from './said.js';

/** What the errno of a failed call means, where the words of `rbd` leave it open. */
export interface Meanings {
  /** Exit status 2, ENOENT: what the call was about does not exist. */
  readonly missing?: ErrorCode;
  /** Exit status 17, EEXIST. */
  readonly exists?: ErrorCode;
  /** Exit status 16, EBUSY. */
  readonly busy?: ErrorCode;
  /** Exit status 122, EDQUOT; otherwise the quota of the pool. */
  readonly quota?: ErrorCode;
}

export interface Failure {
  readonly code: ErrorCode;
  /** Whether what the call itself was about (not its pool, namespace or image) does not exist. */
  readonly absent: boolean;
  /** A better remedy than that of the code. */
  readonly hint?: string;
}

const errno = {
  EPERM: 1,
  ENOENT: 2,
  EIO: 5,
  EACCES: 13,
  EBUSY: 16,
  EEXIST: 17,
  EINVAL: 22,
  ENOSPC: 28,
  EROFS: 30,
  EMLINK: 31,
  ENOTCONN: 107,
  ESHUTDOWN: 108,
  ETIMEDOUT: 110,
  EDQUOT: 122,
} as const;

/** Whatever the exit status is: the cluster was not reached. As printed by Ceph 16.2.15, see the tests. */
const notReached =
  /^timed out$|couldn't connect to the cluster|error connecting to the cluster|Error initializing cluster client|failed to fetch mon config|global_init: (?:unable to open|error reading) config file|did not load config file/m;
const unreadableKey = /error setting modifier for .* type=key|failed to decode key|keyring .*Malformed input/;
const unreadableKeyHint =
  'this release of Ceph cannot read the key in the keyring, as with keys of a newer cluster: see step 3 of the README for keys that both read';

/** An errno that several things may have; the first of them whose words the program itself, or librbd, said. */
const refinements: Readonly<Partial<Record<number, readonly (readonly [RegExp, ErrorCode])[]>>> = {
  [errno.ENOENT]: [
    [/error opening pool .*: \(2\)|data pool .* does not exist/, 'POOL_NOT_FOUND'],
    [/namespace '.*' does not exist/, 'NAMESPACE_NOT_FOUND'],
    [/error opening image .*: \(2\)/, 'IMAGE_NOT_FOUND'],
    [/error setting snapshot context: \(2\)|export-diff error: \(2\)/, 'SNAPSHOT_NOT_FOUND'],
    // A removal moves the image to the trash, which it has to make first.
    [/\(28\) No space left on device|\(122\) Disk quota exceeded/, 'CEPH_NO_SPACE'],
  ],
  [errno.EBUSY]: [
    [/is protected from removal/, 'CEPH_FAILED'],
    [/image (?:still )?has watchers/, 'IMAGE_IN_USE'],
  ],
  [errno.EEXIST]: [[/end snapshot '.*' already exists/, 'SNAPSHOT_EXISTS']],
  [errno.EINVAL]: [[/start snapshot '.*' does not exist/, 'SNAPSHOT_NOT_FOUND']],
  // What a client that was shut out (blocklisted) in the middle calls it depends on what it was doing.
  [errno.EIO]: [[/\(108\) |client blocklisted/, 'CEPH_UNAVAILABLE']],
  [errno.EROFS]: [[/\(108\) |client blocklisted/, 'CEPH_UNAVAILABLE']],
};

/** Whether the program could not be started at all, and not for its arguments. */
const notStarted = new Set(['ENOENT', 'EACCES', 'ENOEXEC', 'ENOTDIR', 'ELOOP']);

/**
 * Gives the failure of an ended child its code. `rbd` exits with the errno, which decides; its words only tell apart what has the same
 * errno. What other parts of Ceph log (of an admin socket, say, or of a keyring that is looked for in several places) is not the error.
 */
export const classify = ({ exitCode, failure, stderr }: ChildEnd, meanings: Meanings): Failure => {
  if (failure !== undefined) return known(notStarted.has(failure) ? 'CEPH_NOT_INSTALLED' : 'CEPH_FAILED');
  const lines = linesOf(stderr);
  const textOf = (...from: readonly string[]): string =>
    lines.flatMap((line) => (from.includes(line.from) ? [line.text] : [])).join('\n');
  const own = textOf('program');
  if (notReached.test(own)) {
    const failure = known('CEPH_UNAVAILABLE');
    return unreadableKey.test(textOf('log')) ? { ...failure, hint: unreadableKeyHint } : failure;
  }
  const number = errnoOf(exitCode, own);
  const words = textOf('program', 'librbd');
  const refined = refinements[number]?.find(([pattern]) => pattern.test(words))?.[1];
  return refined === undefined ? byErrno(number, meanings) : { code: refined, absent: refined === meanings.missing };
};

/** 1 is EPERM, and what the programs exit with when they have no errno, or hide it: then they may say it. */
const errnoOf = (exitCode: number | undefined, own: string): number => {
  if (exitCode !== errno.EPERM) return exitCode ?? 0;
  return Number([...own.matchAll(/\((\d+)\) [A-Z]/g)].at(-1)?.[1] ?? 0);
};

/** What an errno means, when nothing more is known than what was asked for. */
export const byErrno = (number: number, meanings: Meanings): Failure => {
  switch (number) {
    case errno.ENOENT:
      return { code: meanings.missing ?? 'CEPH_FAILED', absent: true };
    case errno.EEXIST:
      return known(meanings.exists ?? 'CEPH_FAILED');
    case errno.EBUSY:
      return known(meanings.busy ?? 'CEPH_FAILED');
    case errno.EPERM:
    case errno.EACCES:
      return known('CEPH_PERMISSION');
    case errno.ENOSPC:
      return known('CEPH_NO_SPACE');
    case errno.EDQUOT:
      return known(meanings.quota ?? 'CEPH_NO_SPACE');
    case errno.EROFS:
      return known('IMAGE_READ_ONLY');
    case errno.EMLINK:
      return known('IMAGE_PROTECTED');
    case errno.ETIMEDOUT:
      return known('CEPH_TIMEOUT');
    case errno.ENOTCONN:
    case errno.ESHUTDOWN:
      return known('CEPH_UNAVAILABLE');
    default:
      return known('CEPH_FAILED');
  }
};

const known = (code: ErrorCode): Failure => ({ code, absent: false });
