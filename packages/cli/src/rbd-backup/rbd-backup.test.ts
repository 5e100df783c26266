import type { Job } from '@rbdferry/core/gen/rbdferry/v1/control.js';
import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { describe, expect, it } from 'vitest';
import {
  agentForTest,
  backupId,
  backupOf,
  backupUsageOf,
  cancelled,
  chainOf,
  committed,
  failed,
  jobOf,
  queued,
  running,
  serverStream,
  streamOf,
  unary,
  usageOf,
  type FakeAgent,
} from '../../test/fake-agent.js';
import { oldBin, runOld, runProcess } from '../../test/run-cli.js';
import { oldSize } from './old-dump.js';
import { operationOf } from './operation.js';
import { receiverFor } from './receiver.js';

/** The older tool's command line, against a real gRPC server that plays the agent. */

const on = ({ socket }: FakeAgent, line: string, env: Record<string, string> = {}) =>
  runOld(line, { RBDFERRY_SOCKET: socket, ...env });

const image = '-p rbd -i vm1';
const asked = ({ calls }: FakeAgent) => calls.filter(({ method }) => method !== 'getAgentInfo');
const restore = { kind: 2, image: 'rbd/vm1', backupId };

it('as a process of its own prints what came of it, and ends with its status', async () => {
  const words = ['-p', 'rbd', '-i', 'vm1', '-r', 'rbd2', '-o', 'backup', '-m', 'full'];
  const inProcess = async (states?: Job[]) =>
    runProcess(words, { RBDFERRY_SOCKET: (await agentForTest(states && { states })).socket }, oldBin);
  expect(await inProcess()).toMatchObject({ status: 0, stdout: `${backupId}\n`, stderr: '' });
  const end = await inProcess([jobOf(queued), jobOf(failed('CEPH_NO_SPACE', 'it is full', 'buy disks'))]);
  expect(end).toMatchObject({ status: 63, stdout: '' });
  expect(end.stderr).toContain('CEPH_NO_SPACE: it is full\nhint: buy disks');
});

describe('backup', () => {
  it('prints the id', async () => {
    const agent = await agentForTest();
    expect(await on(agent, `${image} -r rbd2 -o backup -m full`)).toMatchObject({
      status: 0,
      stdout: `${backupId}\n`,
      stderr: '',
    });
    expect(asked(agent)).toMatchObject([
      { method: 'startBackup', request: { image: 'rbd/vm1', store: 'rbd2', mode: 2, receiver: '' } },
      { method: 'watchJob' },
    ]);
  });

  it('takes the long options, a namespace, -u and -d', async () => {
    const agent = await agentForTest();
    const line =
      '--pool=rbd/ns --image vm1 --remote rbd2 --op backup --mode incr --user root --destination-host backup1 --async';
    expect(await on(agent, line)).toMatchObject({
      status: 0,
      stdout: `${backupId}\n`,
      stderr: '-u root is ignored: there is no ssh any more\njob k3v9x2m7qa\n',
    });
    expect(asked(agent)[0]).toMatchObject({ request: { image: 'rbd/ns/vm1', mode: 3, receiver: 'dr' } });
  });

  it('-a tells what it waits for, because there is no id until then', async () => {
    const waiting = jobOf({ $case: 'queued', value: { waitsFor: 'one of 2 transfers to end' } }, { backupId: '' });
    const agent = await agentForTest({ states: [waiting, waiting, jobOf(running(1n))] });
    expect(await on(agent, `${image} -r rbd2 -o backup -m full -a`)).toMatchObject({
      status: 0,
      stdout: `${backupId}\n`,
      stderr: 'job k3v9x2m7qa\njob k3v9x2m7qa: queued: waits for one of 2 transfers to end\n',
    });
  });

  it.each([
    ['NO_CHAIN', 30, 'hint: make a full backup first: -m full'],
    ['CEPH_NO_SPACE', 63, 'hint: buy disks'],
    ['A_NEWER_CODE', 1, 'hint: buy disks'],
  ])('that fails with %s has its status and a hint in the words of this tool', async (code, status, words) => {
    const agent = await agentForTest({ states: [jobOf(queued), jobOf(failed(code, 'it failed', 'buy disks'))] });
    const end = await on(agent, `${image} -r rbd2 -o backup -m incr`);
    expect(end).toMatchObject({ status, stdout: '' });
    expect(end.stderr).toContain(`${code}: it failed\n${words}`);
  });

  it("puts the agent's own refusals into its words as well", async () => {
    const refuse = unary(() => Promise.reject(new FerryError('STORE_NOT_FOUND', 'no store "x"')));
    const end = await on(await agentForTest({ methods: { startBackup: refuse } }), `${image} -r x -o backup -m full`);
    expect(end).toMatchObject({ status: 22, stdout: '' });
    expect(end.stderr).toContain('hint: -r names a store');
  });

  it('-n removes older chains when a full is done, and never makes it fail', async () => {
    const agent = await agentForTest();
    const end = await on(agent, `${image} -r rbd2 -o backup -m full -n 3`);
    expect(end).toMatchObject({ status: 0, stdout: `${backupId}\n`, stderr: `deleted ${backupId}\n` });
    expect(asked(agent).at(-1)).toMatchObject({
      method: 'deleteBackups',
      request: { store: 'rbd2', selection: { value: { images: ['rbd/vm1'], allImages: false, keepFull: 3 } } },
    });
    const broken = await agentForTest({
      methods: {
        deleteBackups: serverStream(() => {
          throw new FerryError('IMAGE_BUSY', 'busy');
        }),
      },
    });
    expect(await on(broken, `${image} -r rbd2 -o backup -m full -n 3`)).toMatchObject({
      status: 0,
      stdout: `${backupId}\n`,
      stderr: 'warning: older chains could not be deleted: IMAGE_BUSY: busy\n',
    });
  });

  it.each(['-m incr -n 3', '-m full -n 0', '-m full'])('%s removes nothing', async (options) => {
    const agent = await agentForTest();
    expect(await on(agent, `${image} -r rbd2 -o backup ${options}`)).toMatchObject({ status: 0 });
    expect(asked(agent).map(({ method }) => method)).not.toContain('deleteBackups');
  });
});

describe('restore', () => {
  const states = [jobOf(queued, restore), jobOf(committed(), restore)];

  it('prints nothing', async () => {
    const agent = await agentForTest({ states });
    expect(await on(agent, `-p rbd -i vm2 -r rbd2 -o restore -s ${backupId}`)).toMatchObject({
      status: 0,
      stdout: '',
      stderr: '',
    });
    expect(asked(agent)[0]).toMatchObject({
      method: 'startRestore',
      request: { backupId, to: 'rbd/vm2', replace: false },
    });
    const started = await on(await agentForTest({ states }), `-p rbd -i vm2 -o restore -s ${backupId} -a`);
    expect(started).toMatchObject({ status: 0, stdout: '' });
  });

  it('never overwrites an image, and says how to put it away', async () => {
    const agent = await agentForTest({ states: [jobOf(failed('IMAGE_EXISTS', 'it exists', '--replace'), restore)] });
    const end = await on(agent, `${image} -r rbd2 -o restore -s ${backupId}`);
    expect(end).toMatchObject({ status: 34, stdout: '' });
    expect(end.stderr).toContain('`rbdferry restore ID --to POOL/IMAGE --replace`');
  });
});

describe('delete', () => {
  it('-s deletes this backup and prints nothing on stdout', async () => {
    const note = {
      event: { $case: 'note' as const, value: 'the next backup of rbd/vm1 will be a full one' },
      trashedUntilMs: 0n,
    };
    const gone = { event: { $case: 'deleted' as const, value: backupId }, trashedUntilMs: 0n };
    const agent = await agentForTest({ methods: { deleteBackups: streamOf(gone, note) } });
    expect(await on(agent, `${image} -r rbd2 -o delete -s ${backupId}`)).toMatchObject({
      status: 0,
      stdout: '',
      stderr: `deleted ${backupId}\nthe next backup of rbd/vm1 will be a full one\n`,
    });
    expect(asked(agent)).toMatchObject([
      { request: { selection: { $case: 'ids', value: { ids: [backupId] } }, dryRun: false } },
    ]);
  });

  it('-n keeps so many chains', async () => {
    const agent = await agentForTest();
    expect(await on(agent, `${image} -r rbd2 -o delete -n 2`)).toMatchObject({ status: 0, stdout: '' });
    expect(asked(agent)).toMatchObject([{ request: { selection: { $case: 'policy', value: { keepFull: 2 } } } }]);
  });
});

it('dump writes the lines of the debug log to stderr', async () => {
  const passive = chainOf(backupOf({ sizeBytes: 58n }), backupOf());
  const chains = [
    { ...passive, chain: { ...passive.chain, active: false } as typeof passive.chain },
    chainOf(backupOf()),
  ];
  const agent = await agentForTest({ methods: { listBackups: streamOf(...chains) } });
  const { status, stdout, stderr } = await on(agent, `${image} -r rbd2 -o dump`);
  expect({ status, stdout }).toEqual({ status: 0, stdout: '' });
  const time = String.raw`\d{4}-\d\d-\d\d\.\d\d:\d\d:\d\d\.\d{6}`;
  const lines = stderr.trimEnd().split('\n');
  const words = lines.map((line) => line.replace(/^\S+ \d\d:\d\d:\d\d,\d{3} rbd_backup DEBUG - /, ''));
  expect(words[0]).toMatch(new RegExp(`^dump pool rbd image vm1 mode None, begin at ${time}\\.$`));
  expect(words.slice(1, -1)).toEqual([
    '=== vm1.2026-11-24.10:40:39.458883.bkp.image === passive',
    '------      1 2026-11-24.22:40:43.707889.snap 58 bytes ',
    '------      2 2026-11-24.22:40:43.707889.snap 1024 MB ',
    '=== vm1.2026-11-24.10:40:39.458883.bkp.image === active',
    '------      3 2026-11-24.22:40:43.707889.snap 1024 MB ',
  ]);
  expect(words.at(-1)).toMatch(new RegExp(`^dump pool rbd image vm1 mode None, rc 0, end at ${time}\\.$`));
  expect(asked(agent)).toMatchObject([{ request: { image: 'rbd/vm1', store: 'rbd2' } }]);
});

describe('du', () => {
  const MiB = 1_048_576n;
  const methods = { getUsage: streamOf(usageOf([backupUsageOf(7n * MiB)]), usageOf([backupUsageOf(7n * MiB - 1n)])) };

  it('prints whole MB, rounded down', async () => {
    const agent = await agentForTest({ methods });
    expect(await on(agent, `${image} -r rbd2 -o du`)).toMatchObject({ status: 0, stdout: '13\n', stderr: '' });
    expect(asked(agent)).toMatchObject([{ request: { image: 'rbd/vm1', store: 'rbd2', backupId: '' } }]);
  });

  it('du_snap asks for one backup', async () => {
    const agent = await agentForTest({ methods });
    expect(await on(agent, `-o du_snap -s ${backupId}`)).toMatchObject({ status: 0, stdout: '13\n' });
    expect(asked(agent)).toMatchObject([{ request: { image: '', backupId } }]);
  });

  it.each(['du', 'dump'])('%s of what has no backups fails', async (op) => {
    const agent = await agentForTest({ methods: { getUsage: streamOf(), listBackups: streamOf() } });
    const end = await on(agent, `${image} -r rbd2 -o ${op}`);
    expect(end).toMatchObject({ status: 24, stdout: '' });
    expect(end.stderr).toContain('BACKUP_NOT_FOUND: there is no backup of rbd/vm1 in rbd2');
  });
});

describe('query', () => {
  const query = `${image} -o query_backup -s ${backupId}`;
  const withJobs = (...states: Job[]) => agentForTest({ states });

  it.each([
    ['queued', jobOf(queued, { backupId }), '0'],
    ['running, total unknown', jobOf(running(5n)), '0'],
    ['half done', jobOf(running(52n, 100n)), '52'],
    ['all sent, not committed', jobOf(running(100n, 100n)), '99'],
    ['committed', jobOf(committed()), '100'],
    ['failed', jobOf(failed('CEPH_NO_SPACE', 'full', '')), '-1'],
    ['cancelled', jobOf(cancelled), '-1'],
  ])('%s', async (_, job, answer) => {
    const methods = answer === '100' ? {} : { listBackups: streamOf() };
    const agent = await agentForTest({ states: [job], methods });
    expect(await on(agent, query)).toMatchObject({ status: 0, stdout: `${answer}\n` });
  });

  it('a backup that was deleted since its job committed is -1', async () => {
    const gone = { states: [jobOf(committed())], methods: { listBackups: streamOf(chainOf()) } };
    expect(await on(await agentForTest(gone), query)).toMatchObject({
      status: 0,
      stdout: '-1\n',
      stderr: `job k3v9x2m7qa made ${backupId}, which is no longer in the store\n`,
    });
  });

  it('a backup that is in the store is done, whatever became of its job', async () => {
    const agent = await withJobs(jobOf(failed('CONNECTION_LOST', 'the receiver died', '')));
    expect(await on(agent, query)).toMatchObject({ status: 0, stdout: '100\n', stderr: '' });
    expect(asked(agent).at(-1)).toMatchObject({ method: 'listBackups', request: { store: 'rbd2', receiver: 'dr' } });
  });

  it.each([
    ['known', [jobOf(committed())]],
    ['unknown', []],
  ])('of a job that is %s is no answer when the store cannot be asked', async (_, states) => {
    const listBackups = serverStream(() => {
      throw new FerryError('RECEIVER_UNREACHABLE', 'it is down');
    });
    const end = await on(await agentForTest({ states, methods: { listBackups } }), query);
    expect(end).toMatchObject({ status: 41, stdout: '' });
    expect(end.stderr).toContain('RECEIVER_UNREACHABLE');
  });

  it('says on stderr why it failed', async () => {
    const states = [jobOf(failed('CEPH_NO_SPACE', 'the pool is full', ''))];
    const { stderr } = await on(await agentForTest({ states, methods: { listBackups: streamOf() } }), query);
    expect(stderr).toBe('job k3v9x2m7qa failed: CEPH_NO_SPACE: the pool is full\n');
  });

  it('takes the newest job of the right kind', async () => {
    const states = [jobOf(running(7n, 10n), restore), jobOf(running(3n, 10n)), jobOf(committed())];
    const agent = await withJobs(...states);
    expect(await on(agent, query)).toMatchObject({ stdout: '30\n' });
    expect(await on(agent, query.replace('backup', 'restore'))).toMatchObject({ stdout: '70\n' });
  });

  it('a backup that no job is known of is in the store or not', async () => {
    const agent = await withJobs();
    expect(await on(agent, query)).toMatchObject({ status: 0, stdout: '100\n', stderr: '' });
    expect(asked(agent).at(-1)).toMatchObject({ method: 'listBackups', request: { store: 'rbd2' } });
    const empty = await agentForTest({ states: [], methods: { listBackups: streamOf() } });
    expect(await on(empty, query)).toMatchObject({
      status: 0,
      stdout: '-1\n',
      stderr: `the agent knows of no backup of ${backupId}\n`,
    });
    expect(await on(agent, query.replace('backup', 'restore'))).toMatchObject({ status: 0, stdout: '-1\n' });
  });

  it('is no answer when the agent cannot be asked', async () => {
    expect(await runOld(query, { RBDFERRY_SOCKET: '/nowhere' })).toMatchObject({ status: 40, stdout: '' });
  });
});

describe('cancel', () => {
  it('ends the job that runs', async () => {
    const agent = await agentForTest({
      states: [jobOf(committed()), jobOf(running(1n), { id: 'running' })],
      methods: { cancelJob: unary(() => Promise.resolve({ job: jobOf(cancelled, { id: 'running' }) })) },
    });
    expect(await on(agent, `${image} -o cancel -s ${backupId}`)).toMatchObject({
      status: 0,
      stdout: '',
      stderr: 'job running is cancelled\n',
    });
    expect(asked(agent).at(-1)).toMatchObject({ method: 'cancelJob', request: { jobId: 'running' } });
  });

  it('says what became of one that has ended, and of one that there never was', async () => {
    const ended = await agentForTest({ states: [jobOf(committed())] });
    expect(await on(ended, `${image} -o cancel -s ${backupId}`)).toMatchObject({
      status: 0,
      stdout: '',
      stderr: 'job k3v9x2m7qa has ended before: committed\n',
    });
    const none = await on(await agentForTest({ states: [] }), `-o cancel -s ${backupId}`);
    expect(none).toMatchObject({ status: 25, stdout: '' });
    expect(none.stderr).toContain('JOB_NOT_FOUND');
  });
});

it('delete_local_snaps prints nothing on stdout', async () => {
  const agent = await agentForTest();
  expect(await on(agent, `${image} -o delete_local_snaps -r rbd2`)).toMatchObject({
    status: 0,
    stdout: '',
    stderr: 'deleted rbd/vm1@2026-11-24.22:40:43.707889.snap\nthe next backup of rbd/vm1 must be a full one\n',
  });
  expect(asked(agent)).toMatchObject([{ request: { image: 'rbd/vm1', store: 'rbd2', dryRun: false } }]);
});

it('takes every name that RBD takes', () => {
  const image = `-vm (1) "ä" #2's`;
  expect(operationOf({ op: 'dump', pool: 'my pool', image, remote: 'rbd2' })).toEqual({
    kind: 'dump',
    image: `my pool/${image}`,
    store: 'rbd2',
  });
});

describe('a wrong command line', () => {
  it.each([
    ['', 2, '-o, --op'],
    ['-o mirror', 2, 'backup, restore'],
    ['-o backup -p rbd -i vm1 -r rbd2', 2, '-m full or -m incr'],
    ['-o backup -p rbd -i vm1 -r rbd2 -m delta', 2, '"delta"'],
    ['-o backup -p rbd -i vm1 -m full', 2, '-r, the backup pool'],
    ['-o backup -p rbd -m full -r rbd2', 2, '-i IMAGE'],
    ['-o backup -p rbd -i vm1 -m full -r rbd2 -n -1', 2, 'whole number'],
    ['-o backup -p rbd -i vm@1 -m full -r rbd2', 10, 'INVALID_IMAGE_SPEC'],
    ['-o restore -p rbd -i vm1', 2, '-s, the id'],
    ['-o restore -p rbd -i vm1 -s x', 11, 'hint: an id looks like'],
    [`-o restore -s ${backupId}`, 2, '-p POOL and -i IMAGE'],
    ['-o delete -p rbd -i vm1 -r rbd2', 2, '-s ID, or -n N'],
    [`-o delete -p rbd -i vm1 -r rbd2 -n 1 -s ${backupId}`, 2, 'not both'],
    ['-o du -p rbd -i vm1', 2, '-r, the backup pool'],
    ['-o du -p rbd -i vm1 -r rbd2 -a', 2, '-a is for'],
    ['-o query_backup', 2, '-s, the id'],
    ['-o cancel', 2, '-s, the id'],
    ['-o dump -p rbd -i vm1 -r rbd2 extra', 2, 'too many arguments'],
  ])('%s', async (line, status, words) => {
    const end = await runOld(line, { RBDFERRY_SOCKET: '/nowhere' });
    expect(end).toMatchObject({ status, stdout: '' });
    expect(end.stderr).toContain(words);
  });

  it('-h tells of every operation', async () => {
    const { status, stdout } = await runOld('-h');
    expect(status).toBe(0);
    for (const word of ['query_restore', 'delete_local_snaps', '--number_of_copies_to_keep', 'RBDFERRY_RECEIVER']) {
      expect(stdout).toContain(word);
    }
  });
});

describe('receiverFor', () => {
  const receivers = [
    { name: 'dr', address: 'node-7.example.com:7443', defaultStore: 'rbd2' },
    { name: 'near', address: '10.0.0.7:7443', defaultStore: 'rbd2' },
    { name: 'six', address: '[fd00::7]:7443', defaultStore: 'rbd2' },
    { name: 'twin-a', address: 'twin:7443', defaultStore: 'rbd2' },
    { name: 'twin-b', address: 'twin:7444', defaultStore: 'rbd2' },
    { name: 'node-9', address: 'elsewhere:7443', defaultStore: 'rbd2' },
  ];
  const agent = { agentInfo: () => Promise.resolve({ software: '', defaultReceiver: 'dr', receivers }) };
  const find = (destination: string | undefined, env = {}) => receiverFor(agent, destination, env);

  it.each([
    [undefined, undefined],
    ['dr', 'dr'],
    ['node-7.example.com', 'dr'],
    ['NODE-7', 'dr'],
    ['10.0.0.7', 'near'],
    ['fd00::7', 'six'],
    ['elsewhere.example.com', 'node-9'],
    ['node-9', 'node-9'],
  ])('%s is %s', async (destination, receiver) => {
    expect(await find(destination)).toBe(receiver);
  });

  it.each([['node-8'], ['node-7.other.org'], ['10'], [''], ['twin']])('%s is refused', async (destination) => {
    await expect(find(destination)).rejects.toMatchObject({ code: 'RECEIVER_NOT_FOUND' });
  });

  it('the environment overrides it, an empty one does not', async () => {
    expect(await find('node-8', { RBDFERRY_RECEIVER: 'near' })).toBe('near');
    expect(await find('dr', { RBDFERRY_RECEIVER: '' })).toBe('dr');
  });
});

it.each([
  [0n, '0 bytes'],
  [58n, '58 bytes'],
  [102_400n, '102400 bytes'],
  [102_401n, '100 kB'],
  [4_194_304n, '4096 kB'],
  [1_073_741_824n, '1024 MB'],
  [10_737_418_240n, '10240 MB'],
  [2n ** 40n, '1024 GB'],
])('%s bytes were written as %s', (bytes, text) => {
  expect(oldSize(bytes)).toBe(text);
});
