/**
 * The registry of everything that can go wrong and that a user may see.
 *
 * Each code is permanent: its name crosses the wire, its number is the CLI's exit status, and scripts depend on both.
 * Never reuse a number; docs/errors.md is checked against this table.
 */
export type GrpcStatusName =
  | 'CANCELLED'
  | 'INVALID_ARGUMENT'
  | 'DEADLINE_EXCEEDED'
  | 'NOT_FOUND'
  | 'ALREADY_EXISTS'
  | 'PERMISSION_DENIED'
  | 'RESOURCE_EXHAUSTED'
  | 'FAILED_PRECONDITION'
  | 'ABORTED'
  | 'INTERNAL'
  | 'UNAVAILABLE'
  | 'DATA_LOSS'
  | 'UNAUTHENTICATED';

export interface ErrorEntry {
  /** Exit status of the CLI, 1 to 255. */
  readonly exit: number;
  /** gRPC status the daemons answer with. */
  readonly status: GrpcStatusName;
  /** Whether the same request may succeed later without anybody changing anything. */
  readonly retryable: boolean;
  /** The likely remedy when the thrower has no better one. */
  readonly hint: string;
}

const entry = (exit: number, status: GrpcStatusName, retryable: boolean, hint: string): ErrorEntry => ({
  exit,
  status,
  retryable,
  hint,
});

const again = true;
const never = false;

export const errorRegistry = {
  INTERNAL: entry(1, 'INTERNAL', never, 'this is a defect of rbdferry: please report it with the daemon logs'),
  USAGE: entry(2, 'INVALID_ARGUMENT', never, 'see --help of the command'),
  OUTPUT_FAILED: entry(
    3,
    'ABORTED',
    never,
    'nothing but the output is missing: make room or write it elsewhere, and ask again',
  ),

  INVALID_IMAGE_SPEC: entry(
    10,
    'INVALID_ARGUMENT',
    never,
    'name an image as POOL/IMAGE or POOL/NAMESPACE/IMAGE, in quotes where the shell needs them; no name may hold / or @ or what cannot be printed',
  ),
  INVALID_BACKUP_ID: entry(
    11,
    'INVALID_ARGUMENT',
    never,
    'a backup id looks like STORE/IMAGE.TIMESTAMP.bkp.image@TIMESTAMP.snap, a short one is 8 hexadecimal digits; `rbdferry list` prints both',
  ),
  INVALID_REQUEST: entry(12, 'INVALID_ARGUMENT', never, 'correct the named value and try again'),
  CONFIG_INVALID: entry(13, 'FAILED_PRECONDITION', never, 'correct the configuration file at the line given'),
  CONFIG_MISSING: entry(14, 'FAILED_PRECONDITION', never, 'create the file, or name another one with --config'),
  STATE_LOCKED: entry(
    15,
    'FAILED_PRECONDITION',
    never,
    'stop the other rbdferry-agent, or give each agent a `state` directory of its own',
  ),

  NOTHING_SELECTED: entry(
    17,
    'NOT_FOUND',
    never,
    'select images that exist: by name, by pool, or by a glob that matches some',
  ),
  BACKUP_AMBIGUOUS: entry(
    18,
    'FAILED_PRECONDITION',
    never,
    'name the backup by its whole id, or by more digits of the short one',
  ),

  IMAGE_NOT_FOUND: entry(20, 'NOT_FOUND', never, 'check the name with `rbd ls POOL`'),
  POOL_NOT_FOUND: entry(
    21,
    'NOT_FOUND',
    never,
    'check the name with `ceph osd pool ls` and the CephX rights of the daemon',
  ),
  STORE_NOT_FOUND: entry(22, 'NOT_FOUND', never, "check the store's name in the receiver's configuration"),
  RECEIVER_NOT_FOUND: entry(23, 'NOT_FOUND', never, "check the receiver's name in the agent's configuration"),
  BACKUP_NOT_FOUND: entry(24, 'NOT_FOUND', never, '`rbdferry list` prints the backups that exist'),
  JOB_NOT_FOUND: entry(25, 'NOT_FOUND', never, 'the job may have been forgotten after its retention time'),
  NAMESPACE_NOT_FOUND: entry(26, 'NOT_FOUND', never, 'check the name with `rbd namespace ls POOL`'),
  SNAPSHOT_NOT_FOUND: entry(27, 'NOT_FOUND', never, 'check the name with `rbd snap ls`'),
  SNAPSHOT_LIMIT: entry(
    28,
    'FAILED_PRECONDITION',
    never,
    'raise the limit with `rbd snap limit set`, or remove snapshots: each store needs one on the source, and two during a backup',
  ),
  IMAGE_READ_ONLY: entry(
    29,
    'FAILED_PRECONDITION',
    never,
    'the image is not the primary one of its mirror: back it up on the cluster where it is primary, or promote it with `rbd mirror image promote`',
  ),

  NO_CHAIN: entry(30, 'FAILED_PRECONDITION', never, 'make a full backup first, or use --mode auto'),
  NO_COMMON_SNAPSHOT: entry(31, 'FAILED_PRECONDITION', never, 'make a full backup (--mode full), or use --mode auto'),
  IMAGE_RECREATED: entry(
    32,
    'FAILED_PRECONDITION',
    never,
    'the image was removed and made again: make a full backup (--mode full), or use --mode auto',
  ),
  IMAGE_BUSY: entry(33, 'ABORTED', again, 'wait for the other job or cancel it'),
  IMAGE_EXISTS: entry(
    34,
    'ALREADY_EXISTS',
    never,
    'restore to another name with --to, or put the existing image into the trash with --replace',
  ),
  IMAGE_IN_USE: entry(
    35,
    'FAILED_PRECONDITION',
    never,
    'stop whatever has the image open; `rbd status` lists its watchers',
  ),
  CANNOT_RECREATE: entry(
    36,
    'FAILED_PRECONDITION',
    never,
    'create what is missing on the target cluster, then restore again',
  ),
  SNAPSHOT_EXISTS: entry(37, 'ALREADY_EXISTS', again, 'try again'),
  BACKUP_IN_USE: entry(
    38,
    'FAILED_PRECONDITION',
    never,
    'remove what keeps it (a clone, a protection, a snapshot of your own, whoever has the image open), then delete it again',
  ),
  IMAGE_PROTECTED: entry(
    39,
    'FAILED_PRECONDITION',
    never,
    'restore to another name with --to, or let go of the image first: `rbd group image rm`, `rbd mirror image disable`',
  ),

  AGENT_UNREACHABLE: entry(40, 'UNAVAILABLE', again, 'is rbdferry-agent running, and may you open its socket?'),
  RECEIVER_UNREACHABLE: entry(
    41,
    'UNAVAILABLE',
    again,
    "is rbdferry-receiver running at the address in the agent's configuration?",
  ),
  TLS_FAILED: entry(
    42,
    'UNAVAILABLE',
    never,
    'both sides need certificates of the same CA that have not expired, and the address must be in the server certificate',
  ),
  ACCESS_DENIED: entry(43, 'PERMISSION_DENIED', never, "grant the client the store in the receiver's configuration"),
  PROTOCOL_MISMATCH: entry(44, 'FAILED_PRECONDITION', never, 'install the same release of rbdferry on both sides'),
  IMAGE_UNSUPPORTED: entry(
    46,
    'FAILED_PRECONDITION',
    never,
    'finish the import (`rbd migration execute` and `commit`); copy an image of format 1 to one of format 2 (`rbd deep cp`)',
  ),

  BACKUP_HELD: entry(
    48,
    'FAILED_PRECONDITION',
    never,
    '`rbdferry list` shows who is to be asked; `rbdferry release ID` takes the hold off',
  ),

  STREAM_INVALID: entry(
    50,
    'DATA_LOSS',
    never,
    'the diff stream is malformed; nothing was committed. Look for known defects of this Ceph release',
  ),
  STREAM_TRUNCATED: entry(51, 'DATA_LOSS', again, 'the stream ended early; nothing was committed'),
  DIGEST_MISMATCH: entry(52, 'DATA_LOSS', again, 'what arrived is not what was sent; nothing was committed'),
  VERIFY_FAILED: entry(53, 'DATA_LOSS', never, 'what was written is not what was asked for; nothing was replaced'),

  SOURCE_CHANGED: entry(
    54,
    'ABORTED',
    again,
    'what was read was removed, replaced or flattened meanwhile; nothing was committed. Try again when nobody changes it',
  ),

  CEPH_UNAVAILABLE: entry(
    60,
    'UNAVAILABLE',
    again,
    'check the cluster with `ceph -s` and the conf, user and keyring of the daemon',
  ),
  CEPH_TIMEOUT: entry(
    61,
    'DEADLINE_EXCEEDED',
    again,
    'the cluster did not answer in time; is it full, or has it lost OSDs? See `ceph -s`',
  ),
  CEPH_PERMISSION: entry(
    62,
    'PERMISSION_DENIED',
    never,
    "give the CephX user 'profile rbd' on the monitor and on the pool",
  ),
  CEPH_NO_SPACE: entry(
    63,
    'RESOURCE_EXHAUSTED',
    never,
    'add room or raise the quota, or remove backups or images, which a full pool allows; see `ceph df`',
  ),
  CEPH_FAILED: entry(64, 'INTERNAL', never, 'see what rbd said'),
  CEPH_NOT_INSTALLED: entry(65, 'FAILED_PRECONDITION', never, 'install ceph-common on the machine of the daemon'),

  TRANSFER_STALLED: entry(
    70,
    'DEADLINE_EXCEEDED',
    again,
    'nothing moved for the stall time; look at what the message names, its cluster, and then at the network',
  ),
  JOB_INTERRUPTED: entry(71, 'ABORTED', again, 'the agent was stopped while the job ran; start it again'),
  CONNECTION_LOST: entry(72, 'UNAVAILABLE', again, 'the connection broke; try again'),

  SOME_FAILED: entry(73, 'ABORTED', never, 'see what each of them says: `rbdferry jobs --batch ID`'),
  ALL_FAILED: entry(74, 'ABORTED', never, 'see what each of them says: `rbdferry jobs --batch ID`'),

  CANCELLED: entry(130, 'CANCELLED', never, 'it was cancelled on request'),
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof errorRegistry;

export const errorCodes = Object.keys(errorRegistry) as readonly ErrorCode[];

/** Whether `text` is a code of this release; a newer peer may send others. */
export const isErrorCode = (text: string): text is ErrorCode => Object.hasOwn(errorRegistry, text);
