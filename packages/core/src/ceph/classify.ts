import type { ErrorCode } from '../errors/registry.js';
import type { ChildEnd } from './child.js';

/** What the errno of a failed call means, where the words of `rbd` leave it open. */
export interface Meanings {
  /** Exit status 2, ENOENT: what the call was about does not exist. */
  readonly missing?: ErrorCode;
  /** Exit status 17, EEXIST. */
  readonly exists?: ErrorCode;
  /** Exit status 16, EBUSY. */
  readonly busy?: ErrorCode;
}

export interface Failure {
  readonly code: ErrorCode;
  /** Whether what the call itself was about (not its pool, namespace or image) does not exist. */
  readonly absent: boolean;
}

/** Words that are clear whatever the call was; the first that fits decides. As printed by Ceph 16.2.15, see the tests. */
const words: readonly (readonly [RegExp, ErrorCode])[] = [
  [
    /^timed out$|couldn't connect to the cluster|error connecting to the cluster|Error initializing cluster client/m,
    'CEPH_UNAVAILABLE',
  ],
  [/global_init: (?:unable to open|error reading) config file|did not load config file/, 'CEPH_UNAVAILABLE'],
  [/error opening pool '.*': \(2\)|data pool .* does not exist/, 'POOL_NOT_FOUND'],
  [/namespace '.*' does not exist/, 'NAMESPACE_NOT_FOUND'],
  [/error opening image .*: \(2\)/, 'IMAGE_NOT_FOUND'],
  [/image (?:still )?has watchers/, 'IMAGE_IN_USE'],
  [
    /error setting snapshot context: \(2\)|export-diff error: \(2\)|start snapshot '.*' does not exist/,
    'SNAPSHOT_NOT_FOUND',
  ],
  [/end snapshot '.*' already exists/, 'SNAPSHOT_EXISTS'],
  [/\(1\) Operation not permitted|\(13\) Permission denied/, 'CEPH_PERMISSION'],
  [/\(28\) No space left on device|\(122\) Disk quota exceeded/, 'CEPH_NO_SPACE'],
  [
    /\(108\) Cannot send after transport endpoint shutdown|\(107\) Transport endpoint is not connected/,
    'CEPH_UNAVAILABLE',
  ],
  [/\(110\) Connection timed out/, 'CEPH_TIMEOUT'],
  [/is protected from removal/, 'CEPH_FAILED'],
];

const errno = { ENOENT: 2, EBUSY: 16, EEXIST: 17, ENOSPC: 28, ETIMEDOUT: 110, EDQUOT: 122 } as const;

/** Whether the program could not be started at all, and not for its arguments. */
const notStarted = new Set(['ENOENT', 'EACCES', 'ENOEXEC', 'ENOTDIR', 'ELOOP']);

/** Gives the failure of an ended child its code. rbd exits with the errno, which says less than its words. */
export const classify = ({ exitCode, failure, stderr }: ChildEnd, meanings: Meanings): Failure => {
  if (failure !== undefined) return known(notStarted.has(failure) ? 'CEPH_NOT_INSTALLED' : 'CEPH_FAILED');
  const clear = words.find(([pattern]) => pattern.test(stderr));
  if (clear !== undefined) return { code: clear[1], absent: clear[1] === meanings.missing };
  switch (exitCode) {
    case errno.ENOENT:
      return { code: meanings.missing ?? 'CEPH_FAILED', absent: true };
    case errno.EEXIST:
      return known(meanings.exists ?? 'CEPH_FAILED');
    case errno.EBUSY:
      return known(meanings.busy ?? 'CEPH_FAILED');
    case errno.ENOSPC:
    case errno.EDQUOT:
      return known('CEPH_NO_SPACE');
    case errno.ETIMEDOUT:
      return known('CEPH_TIMEOUT');
    default:
      return known('CEPH_FAILED');
  }
};

const known = (code: ErrorCode): Failure => ({ code, absent: false });
