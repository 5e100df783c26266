import { describe, expect, it } from 'vitest';
import type { ErrorCode } from '../errors/registry.js';
import { classify, type Meanings } from './classify.js';
import { whatItSaid } from './said.js';

interface Case {
  readonly name: string;
  readonly exitCode: number;
  readonly stderr: string;
  readonly meanings?: Meanings;
  readonly code: ErrorCode;
  readonly absent?: boolean;
  readonly said: string;
}

const log = (text: string): string => `2026-11-24T02:26:43.540+0000 7f3a2628f380 -1 ${text}\n\n`;
const image: Meanings = { missing: 'IMAGE_NOT_FOUND', exists: 'IMAGE_EXISTS', busy: 'IMAGE_IN_USE' };
const snap: Meanings = { missing: 'SNAPSHOT_NOT_FOUND', exists: 'SNAPSHOT_EXISTS' };

/** Printed by rbd and ceph 16.2.15. */
const missing: Case[] = [
  {
    name: 'image',
    exitCode: 2,
    stderr: 'rbd: error opening image nope: (2) No such file or directory\n',
    meanings: snap,
    code: 'IMAGE_NOT_FOUND',
    said: 'error opening image nope: (2) No such file or directory',
  },
  {
    name: 'image of a removal',
    exitCode: 2,
    stderr: '\rRemoving image: 0% complete...failed.\nrbd: delete error: (2) No such file or directory\n',
    meanings: image,
    code: 'IMAGE_NOT_FOUND',
    absent: true,
    said: 'delete error: (2) No such file or directory',
  },
  {
    name: 'image in a removal that opens it first',
    exitCode: 2,
    stderr: 'rbd: error opening image nope: (2) No such file or directory\n',
    meanings: image,
    code: 'IMAGE_NOT_FOUND',
    absent: true,
    said: 'error opening image nope: (2) No such file or directory',
  },
  {
    name: 'pool',
    exitCode: 2,
    stderr:
      "rbd: error opening pool 'nopool': (2) No such file or directory\nrbd: listing images failed: (2) No such file or directory\n",
    meanings: image,
    code: 'POOL_NOT_FOUND',
    said: "error opening pool 'nopool': (2) No such file or directory; listing images failed: (2) No such file or directory",
  },
  {
    name: 'data pool',
    exitCode: 2,
    stderr: `${log('librbd::image::CreateRequest: 0x562491dea990 validate_data_pool: data pool nopool does not exist')}rbd: create error: (2) No such file or directory\n`,
    meanings: image,
    code: 'POOL_NOT_FOUND',
    said: 'create error: (2) No such file or directory (data pool nopool does not exist)',
  },
  {
    name: 'namespace',
    exitCode: 2,
    stderr: "rbd: namespace 'nons' does not exist.\n",
    meanings: image,
    code: 'NAMESPACE_NOT_FOUND',
    said: "namespace 'nons' does not exist",
  },
  {
    name: 'snapshot to remove',
    exitCode: 2,
    stderr: '\rRemoving snap: 0% complete...failed.\nrbd: failed to remove snapshot: (2) No such file or directory\n',
    meanings: snap,
    code: 'SNAPSHOT_NOT_FOUND',
    absent: true,
    said: 'failed to remove snapshot: (2) No such file or directory',
  },
  {
    name: 'snapshot to roll back to',
    exitCode: 2,
    stderr: `${log('librbd::Operations: No such snapshot found.')}\rRolling back to snapshot: 0% complete...failed.\nrbd: rollback failed: (2) No such file or directory\n`,
    meanings: snap,
    code: 'SNAPSHOT_NOT_FOUND',
    absent: true,
    said: 'rollback failed: (2) No such file or directory (No such snapshot found.)',
  },
  {
    name: 'snapshot to export',
    exitCode: 2,
    stderr: 'error setting snapshot context: (2) No such file or directory\n',
    code: 'SNAPSHOT_NOT_FOUND',
    said: 'error setting snapshot context: (2) No such file or directory',
  },
  {
    name: 'snapshot to export from',
    exitCode: 2,
    stderr: 'rbd: export-diff error: (2) No such file or directory\n',
    code: 'SNAPSHOT_NOT_FOUND',
    said: 'export-diff error: (2) No such file or directory',
  },
  {
    name: 'snapshot to compare from',
    exitCode: 2,
    stderr: 'rbd: diff error: (2) No such file or directory\n',
    meanings: snap,
    code: 'SNAPSHOT_NOT_FOUND',
    absent: true,
    said: 'diff error: (2) No such file or directory',
  },
  {
    name: 'snapshot that an import builds on',
    exitCode: 22,
    stderr:
      "start snapshot 's1' does not exist in the image, aborting\nrbd: import-diff failed: (22) Invalid argument\n",
    meanings: image,
    code: 'SNAPSHOT_NOT_FOUND',
    said: "start snapshot 's1' does not exist in the image, aborting; import-diff failed: (22) Invalid argument",
  },
  {
    name: 'image in a listing: its removal was interrupted',
    exitCode: 2,
    stderr:
      'rbd: error opening rk: (2) No such file or directory\nrbd: listing images failed: (2) No such file or directory\n',
    meanings: image,
    code: 'IMAGE_NOT_FOUND',
    absent: true,
    said: 'error opening rk: (2) No such file or directory; listing images failed: (2) No such file or directory',
  },
  {
    name: 'metadata key',
    exitCode: 2,
    stderr:
      'rbd: no existing metadata key nokey of image : (2) No such file or directory\nrbd: removing metadata failed: (2) No such file or directory\n',
    code: 'CEPH_FAILED',
    absent: true,
    said: 'no existing metadata key nokey of image : (2) No such file or directory; removing metadata failed: (2) No such file or directory',
  },
  {
    name: 'trash entry',
    exitCode: 2,
    stderr: `rbd: error: image does not exist in trash\n${log('librbd::api::Trash: restore: error getting image id 99999 info from trash: (2) No such file or directory')}`,
    meanings: image,
    code: 'IMAGE_NOT_FOUND',
    absent: true,
    said: 'image does not exist in trash',
  },
];

const taken: Case[] = [
  {
    name: 'image exists',
    exitCode: 17,
    stderr: `rbd: create error: (17) File exists\n${log('librbd: rbd image a already exists')}`,
    meanings: image,
    code: 'IMAGE_EXISTS',
    said: 'create error: (17) File exists (rbd image a already exists)',
  },
  {
    name: 'image exists, the logger having printed into the line',
    exitCode: 17,
    stderr: `rbd: create error: ${log('librbd: rbd image a already exists')}(17) File exists\n`,
    meanings: image,
    code: 'IMAGE_EXISTS',
    said: 'create error: (17) File exists (rbd image a already exists)',
  },
  {
    name: 'name taken, on restoring from the trash',
    exitCode: 17,
    stderr: 'rbd: error: an image with the same name already exists, try again with a different name\n',
    meanings: image,
    code: 'IMAGE_EXISTS',
    said: 'an image with the same name already exists, try again with a different name',
  },
  {
    name: 'snapshot exists',
    exitCode: 17,
    stderr: '\rCreating snap: 0% complete...failed.\nrbd: failed to create snapshot: (17) File exists\n',
    meanings: snap,
    code: 'SNAPSHOT_EXISTS',
    said: 'failed to create snapshot: (17) File exists',
  },
  {
    name: 'snapshot that an import would make',
    exitCode: 17,
    stderr: "end snapshot 's2' already exists, aborting\nrbd: import-diff failed: (17) File exists\n",
    meanings: image,
    code: 'SNAPSHOT_EXISTS',
    said: "end snapshot 's2' already exists, aborting; import-diff failed: (17) File exists",
  },
  {
    name: 'image with watchers',
    exitCode: 16,
    stderr: `${log('librbd::image::PreRemoveRequest: 0x56316d520ca0 check_image_watchers: image has watchers - not removing')}\rRemoving image: 0% complete...failed.\nrbd: error: image still has watchers\nThis means the image is still open or the client using it crashed. Try again after closing/unmapping it or waiting 30s for the crashed client to timeout.\n`,
    meanings: image,
    code: 'IMAGE_IN_USE',
    said: 'image still has watchers',
  },
  {
    name: 'protected snapshot',
    exitCode: 16,
    stderr: `\rRemoving snap: 0% complete...failed.\nrbd: snapshot 's1' is protected from removal.\n${log('librbd::Operations: snapshot is protected')}`,
    meanings: { ...snap, busy: 'IMAGE_IN_USE' },
    code: 'CEPH_FAILED',
    said: "snapshot 's1' is protected from removal",
  },
  {
    name: 'image with snapshots',
    exitCode: 39,
    stderr:
      "\rRemoving image: 0% complete...failed.\nrbd: image has snapshots - these must be deleted with 'rbd snap purge' before the image can be removed.\n",
    meanings: image,
    code: 'CEPH_FAILED',
    said: "image has snapshots - these must be deleted with 'rbd snap purge' before the image can be removed",
  },
];

const unreachable: Case[] = [
  {
    name: 'no ceph.conf',
    exitCode: 1,
    stderr: 'global_init: unable to open config file from search list /nope/ceph.conf\n',
    code: 'CEPH_UNAVAILABLE',
    said: 'global_init: unable to open config file from search list /nope/ceph.conf',
  },
  {
    name: 'malformed ceph.conf',
    exitCode: 1,
    stderr: 'global_init: error reading config file. parse error: expected \'"]"\' in line 1 at position 8\n\n',
    code: 'CEPH_UNAVAILABLE',
    said: 'global_init: error reading config file. parse error: expected \'"]"\' in line 1 at position 8',
  },
  {
    name: 'wrong key',
    exitCode: 13,
    stderr: `${log('monclient(hunting): handle_auth_bad_method server allowed_methods [2] but i only support [2,1]')}rbd: couldn't connect to the cluster!\nrbd: listing images failed: (13) Permission denied\n`,
    meanings: image,
    code: 'CEPH_UNAVAILABLE',
    said: "couldn't connect to the cluster; listing images failed: (13) Permission denied",
  },
  {
    name: 'no monitor in ceph.conf',
    exitCode: 2,
    stderr: `unable to get monitor info from DNS SRV with service name: ceph-mon\n${log('monclient: get_monmap_and_config cannot identify monitors to contact')}rbd: couldn't connect to the cluster!\nrbd: listing images failed: (2) No such file or directory\n`,
    meanings: image,
    code: 'CEPH_UNAVAILABLE',
    said: "unable to get monitor info from DNS SRV with service name: ceph-mon; couldn't connect to the cluster; listing images failed: (2) No such file or directory",
  },
  {
    name: 'dead monitor',
    exitCode: 110,
    stderr:
      "2026-11-24T02:28:45.516+0000 7fa92088f380  0 monclient(hunting): authenticate timed out after 3\n\nrbd: couldn't connect to the cluster!\nrbd: listing images failed: (110) Connection timed out\n",
    code: 'CEPH_UNAVAILABLE',
    said: "couldn't connect to the cluster; listing images failed: (110) Connection timed out",
  },
  { name: 'dead monitor, for ceph', exitCode: 1, stderr: 'timed out\n', code: 'CEPH_UNAVAILABLE', said: 'timed out' },
  {
    name: 'wrong key, for ceph',
    exitCode: 13,
    stderr: '[errno 13] RADOS permission denied (error connecting to the cluster)\n',
    code: 'CEPH_UNAVAILABLE',
    said: '[errno 13] RADOS permission denied (error connecting to the cluster)',
  },
  {
    name: 'no ceph.conf, for ceph',
    exitCode: 1,
    stderr:
      "Error initializing cluster client: ObjectNotFound('RADOS object not found (error calling conf_read_file)')\n",
    code: 'CEPH_UNAVAILABLE',
    said: "Error initializing cluster client: ObjectNotFound('RADOS object not found (error calling conf_read_file)')",
  },
];

const others: Case[] = [
  {
    name: 'no right to write',
    exitCode: 1,
    stderr: `${log('librbd::Watcher: 0x7f7440007510 handle_register_watch: failed to register watch: (1) Operation not permitted')}${log('librbd::ImageState: 0x56020fffb870 failed to open image: (1) Operation not permitted')}rbd: error opening image x1: (1) Operation not permitted\n`,
    meanings: image,
    code: 'CEPH_PERMISSION',
    said: 'error opening image x1: (1) Operation not permitted (failed to open image: (1) Operation not permitted)',
  },
  {
    name: 'an operation timed out',
    exitCode: 110,
    stderr: `${log('librbd::image::CreateRequest: 0x5652c65c8990 handle_add_image_to_directory: error adding image to directory: (110) Connection timed out')}rbd: create error: (110) Connection timed out\n`,
    meanings: image,
    code: 'CEPH_TIMEOUT',
    said: 'create error: (110) Connection timed out (error adding image to directory: (110) Connection timed out)',
  },
  {
    name: 'truncated stream',
    exitCode: 74,
    stderr: 'rbd: failed to decode tag\nrbd: import-diff failed: (74) Bad message\n',
    meanings: image,
    code: 'CEPH_FAILED',
    said: 'failed to decode tag; import-diff failed: (74) Bad message',
  },
  {
    name: 'stream that is no diff',
    exitCode: 22,
    stderr: 'rbd: invalid or unexpected diff banner\nrbd: import-diff failed: (22) Invalid argument\n',
    meanings: image,
    code: 'CEPH_FAILED',
    said: 'invalid or unexpected diff banner; import-diff failed: (22) Invalid argument',
  },
  {
    name: 'a mistake of ours, whose exit status 1 is no EPERM',
    exitCode: 1,
    stderr: "rbd: unrecognised option '--value'\n",
    meanings: image,
    code: 'CEPH_FAILED',
    said: "unrecognised option '--value'",
  },
  {
    name: 'an image that is there and cannot be removed, because the pool is full and never had a trash',
    exitCode: 2,
    stderr: `${log('librbd::trash::MoveRequest: 0x7f7d700070a0 handle_trash_add: failed to add image to trash: (28) No space left on device')}${log('librbd::api::Trash: move: error setting trash image state: (2) No such file or directory')}rbd: delete error: (2) No such file or directory\n`,
    meanings: image,
    code: 'CEPH_NO_SPACE',
    said: 'delete error: (2) No such file or directory (error setting trash image state: (2) No such file or directory)',
  },
  { name: 'full', exitCode: 28, stderr: '', code: 'CEPH_NO_SPACE', said: '' },
  {
    name: 'over quota',
    exitCode: 122,
    stderr: 'rbd: import-diff failed: (122) Disk quota exceeded\n',
    code: 'CEPH_NO_SPACE',
    said: 'import-diff failed: (122) Disk quota exceeded',
  },
];

const asok = log(
  "asok(0x55e3413585a0) AdminSocketConfigObs::init: failed: AdminSocket::bind_and_listen: failed to bind the UNIX domain socket to '/run/ceph/x.asok': (13) Permission denied",
);
const badKey = 'AgBBBBBBBBBBAAAAIAAREALSECRETREALSECRETREALSECRETREALSECRETAA==';

/** What is on standard error and is not the error. */
const noise: Case[] = [
  {
    name: 'an admin socket that cannot be made, and a missing snapshot',
    exitCode: 2,
    stderr: `${asok}\rRemoving snap: 0% complete...failed.\nrbd: failed to remove snapshot: (2) No such file or directory\n`,
    meanings: snap,
    code: 'SNAPSHOT_NOT_FOUND',
    absent: true,
    said: 'failed to remove snapshot: (2) No such file or directory',
  },
  {
    name: 'the same and an image that is in use',
    exitCode: 16,
    stderr: `${asok}rbd: error: image still has watchers\n`,
    meanings: image,
    code: 'IMAGE_IN_USE',
    said: 'image still has watchers',
  },
  {
    name: 'the same for rados, whose exit status says nothing',
    exitCode: 1,
    stderr: `${asok}error getting omap keys rbd/rbd_header.nope: (2) No such file or directory\n`,
    meanings: image,
    code: 'IMAGE_NOT_FOUND',
    absent: true,
    said: 'error getting omap keys rbd/rbd_header.nope: (2) No such file or directory',
  },
  {
    name: 'a keyring that is looked for in several places',
    exitCode: 2,
    stderr: `${log('auth: unable to find a keyring on /etc/ceph/ceph.keyring: (13) Permission denied')}rbd: error opening image nope: (2) No such file or directory\n`,
    meanings: snap,
    code: 'IMAGE_NOT_FOUND',
    said: 'error opening image nope: (2) No such file or directory',
  },
];

/** Every errno that real calls were seen to give, beside those above. */
const errnos: Case[] = [
  {
    name: 'a limit of snapshots',
    exitCode: 122,
    stderr: 'rbd: failed to create snapshot: (122) Disk quota exceeded\n',
    meanings: { ...snap, quota: 'SNAPSHOT_LIMIT' },
    code: 'SNAPSHOT_LIMIT',
    said: 'failed to create snapshot: (122) Disk quota exceeded',
  },
  {
    name: 'a demoted image',
    exitCode: 30,
    stderr: `${log('librbd::journal::StandardPolicy: local image not promoted')}${log('librbd::exclusive_lock::PostAcquireRequest: 0x7fe1cc01f000 handle_allocate_journal_tag: failed to allocate journal tag: (1) Operation not permitted')}rbd: failed to create snapshot: (30) Read-only file system\n`,
    meanings: snap,
    code: 'IMAGE_READ_ONLY',
    said: 'failed to create snapshot: (30) Read-only file system (failed to allocate journal tag: (1) Operation not permitted)',
  },
  {
    name: 'an admin socket that cannot be made, before and after a failure that says its errno only',
    exitCode: 1,
    stderr: `${asok}rbd: listing children failed: (2) No such file or directory\n${asok}`,
    meanings: image,
    code: 'IMAGE_NOT_FOUND',
    absent: true,
    said: 'listing children failed: (2) No such file or directory',
  },
  {
    name: 'a client that was shut out, by another errno',
    exitCode: 5,
    stderr: `${log('librbd::Watcher: 0x7f1ac40074b0 handle_rewatch: client blocklisted')}rbd: snapshot create failed: (5) Input/output error\n`,
    meanings: image,
    code: 'CEPH_UNAVAILABLE',
    said: 'snapshot create failed: (5) Input/output error (client blocklisted)',
  },
  {
    name: 'a client that was shut out in the middle',
    exitCode: 108,
    stderr: `${log('librbd::Watcher: 0x7f1ac40074b0 handle_rewatch: client blocklisted')}rbd: import-diff failed: (108) Cannot send after transport endpoint shutdown\n${log('librbd::io::AioCompletion: 0x558fc46774b0 fail: (108) Cannot send after transport endpoint shutdown')}`,
    meanings: image,
    code: 'CEPH_UNAVAILABLE',
    said: 'import-diff failed: (108) Cannot send after transport endpoint shutdown ((108) Cannot send after transport endpoint shutdown)',
  },
  {
    name: 'a member of a group (20.2.4)',
    exitCode: 31,
    stderr: 'rbd: deferred delete error: (31) Too many links\n',
    meanings: image,
    code: 'IMAGE_PROTECTED',
    said: 'deferred delete error: (31) Too many links',
  },
  {
    name: 'an image of format 1 in the trash',
    exitCode: 95,
    stderr: 'rbd: deferred delete error: (95) Operation not supported\n',
    meanings: image,
    code: 'CEPH_FAILED',
    said: 'deferred delete error: (95) Operation not supported',
  },
  {
    name: 'a name that is too long',
    exitCode: 36,
    stderr: 'rbd: create error: (36) File name too long\n',
    meanings: image,
    code: 'CEPH_FAILED',
    said: 'create error: (36) File name too long',
  },
  {
    name: 'a source of a live import that does not answer',
    exitCode: 111,
    stderr: `${log('librbd::image::OpenRequest: failed to refresh image: (111) Connection refused')}rbd: error opening live2: (111) Connection refused\n`,
    meanings: image,
    code: 'CEPH_FAILED',
    said: 'error opening live2: (111) Connection refused (failed to refresh image: (111) Connection refused)',
  },
  {
    name: 'a setting that an image may not have',
    exitCode: 22,
    stderr: `${log('librbd::Operations: validation for conf_bogus failed: not allowed image level override')}failed to set metadata conf_bogus of image : (22) Invalid argument\nrbd: setting metadata failed: (22) Invalid argument\n`,
    meanings: image,
    code: 'CEPH_FAILED',
    said: 'failed to set metadata conf_bogus of image : (22) Invalid argument; setting metadata failed: (22) Invalid argument',
  },
];

describe('a crash', () => {
  const dump = ` ceph version 16.2.15 (618f) pacific (stable)\n 1: (ceph::__ceph_assert_fail(char const*)+0x127) [0x7f]\n--- begin dump of recent events ---\n`;

  it('is told in one line', () => {
    const asserted = `./src/librbd/Utils.h: In function 'x' thread 7f603b34f6c0 time 2026-11-30T06:13:40.306226+0000\n./src/librbd/Utils.h: 160: FAILED ceph_assert(length < 96)\n${dump}`;
    expect(whatItSaid(asserted)).toBe('it crashed: FAILED ceph_assert(length < 96)');
    expect(whatItSaid(`*** Caught signal (Segmentation fault) **\n${dump}`)).toBe(
      'it crashed: Caught signal (Segmentation fault)',
    );
  });

  it('is known by its end when its beginning is lost', () => {
    expect(whatItSaid('   0/ 5 rados\n  max_recent       500\n--- end dump of recent events ---\n')).toBe('it crashed');
  });
});

describe('a key that this release cannot read', () => {
  const parse = log(
    `auth: error parsing file /etc/k: error setting modifier for [client.admin] type=key val=${badKey}: Malformed input`,
  );

  it.each([
    ['rbd', 5, "rbd: couldn't connect to the cluster!\nrbd: listing images failed: (5) Input/output error\n"],
    ['rados', 1, 'failed to fetch mon config (--no-mon-config to skip)\n'],
    ['ceph', 1, '[errno 5] RADOS I/O error (error connecting to the cluster)\n'],
  ])('is said as such by %s, without the key', (_, exitCode, own) => {
    const stderr = `${parse}${log('auth: failed to load /etc/k: (5) Input/output error')}${own}`;
    const { code, hint } = classify({ exitCode, signal: undefined, failure: undefined, stderr }, image);
    expect(code).toBe('CEPH_UNAVAILABLE');
    expect(hint).toContain('cannot read the key in the keyring');
    expect(whatItSaid(stderr)).not.toContain('SECRET');
  });

  it('is never shown, even when it is all that was said', () => {
    expect(whatItSaid(parse)).toBe(
      'error parsing file /etc/k: error setting modifier for [client.admin] type=key val=(hidden) Malformed input',
    );
    expect(whatItSaid('oops: AQBWDQ1rAAAAABAA7ctj3mj58D3K2X/ReKTbMA==')).toBe('oops: (hidden)');
  });
});

describe.each([
  ['what is missing', missing],
  ['what is taken or in use', taken],
  ['a cluster that cannot be reached', unreachable],
  ['other failures', others],
  ['what is no error', noise],
  ['other errnos', errnos],
])('%s', (_, cases) => {
  it.each(cases)('$name', ({ exitCode, stderr, meanings, code, absent, said }) => {
    const end = { exitCode, signal: undefined, failure: undefined, stderr };
    expect(classify(end, meanings ?? {})).toEqual({ code, absent: absent ?? false });
    expect(whatItSaid(stderr)).toBe(said);
  });
});

it('tells a program that is not there from one that refused its arguments', () => {
  const notRun = (failure: string) => ({ exitCode: undefined, signal: undefined, failure, stderr: '' });
  expect(classify(notRun('ENOENT'), {}).code).toBe('CEPH_NOT_INSTALLED');
  expect(classify(notRun('EACCES'), {}).code).toBe('CEPH_NOT_INSTALLED');
  expect(classify(notRun('E2BIG'), {}).code).toBe('CEPH_FAILED');
});

it('takes a death by signal for a failure of the program', () => {
  expect(
    classify(
      { exitCode: undefined, signal: 'SIGKILL', failure: undefined, stderr: '' },
      { missing: 'IMAGE_NOT_FOUND' },
    ),
  ).toEqual({
    code: 'CEPH_FAILED',
    absent: false,
  });
});
