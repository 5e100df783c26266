import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { BackupKind } from '@rbdferry/core/gen/rbdferry/v1/model.js';
import { describe, expect, it } from 'vitest';
import {
  agentForTest,
  at,
  backupId,
  backupOf,
  backupUsageOf,
  chainOf,
  serverStream,
  streamOf,
  unary,
  usageOf,
  type FakeAgent,
  unreadableChain,
} from '../test/fake-agent.js';
import { runCli } from '../test/run-cli.js';

/** `delete`, `du`, `report` and `dump`, against a real gRPC server that plays the agent. */

const on = ({ socket }: Pick<FakeAgent, 'socket'>, ...args: string[]) => runCli(['--socket', socket, ...args]);
const nowhere = { socket: '/nowhere' };
const chain = 'vm1.2026-11-24.10:40:39.458883.bkp.image';
const secondId = backupId.replace('22:40:43', '23:40:43');

const deleted = (value: string, trashedUntilMs = 0n) => ({
  event: { $case: 'deleted' as const, value },
  trashedUntilMs,
});
const told = (value: string) => ({ event: { $case: 'note' as const, value }, trashedUntilMs: 0n });
const lastRequest = ({ calls }: FakeAgent): unknown => calls.at(-1)?.request;

describe('delete', () => {
  const events = () =>
    streamOf(deleted(backupId), deleted(secondId), told('the next backup of rbd/vm1 will be a full one'));

  it('prints ids on stdout and notes on stderr', async () => {
    const agent = await agentForTest({ methods: { deleteBackups: events() } });
    expect(await on(agent, 'delete', backupId, secondId, '--receiver', 'dr')).toMatchObject({
      status: 0,
      stdout: `${backupId}\n${secondId}\n`,
      stderr: 'the next backup of rbd/vm1 will be a full one\n',
    });
    expect(lastRequest(agent)).toEqual({
      selection: { $case: 'ids', value: { ids: [backupId, secondId] } },
      dryRun: false,
      receiver: 'dr',
      store: '',
    });
  });

  it('--json prints it all as one object', async () => {
    const agent = await agentForTest({ methods: { deleteBackups: events() } });
    const { stdout, stderr } = await on(agent, 'delete', backupId, '--dry-run', '--json');
    expect(stderr).toBe('');
    expect(JSON.parse(stdout)).toEqual({
      dryRun: true,
      deleted: [backupId, secondId],
      trashed: [],
      kept: [],
      notes: ['the next backup of rbd/vm1 will be a full one'],
      error: null,
    });
    expect(lastRequest(agent)).toMatchObject({ dryRun: true });
  });

  it('--json says until when the trash keeps what was deleted', async () => {
    const until = new Date('2026-12-01T10:00:00.000Z');
    const events = streamOf(deleted(backupId), deleted(secondId, BigInt(until.getTime())));
    const agent = await agentForTest({ methods: { deleteBackups: events } });
    const { stdout } = await on(agent, 'delete', backupId, secondId, '--json');
    expect(JSON.parse(stdout)).toMatchObject({
      deleted: [backupId, secondId],
      trashed: [{ id: secondId, until: until.toISOString() }],
    });
  });

  it('--dry-run says that it was one, and nothing to delete is said too', async () => {
    expect(await on(await agentForTest(), 'delete', backupId, '--dry-run')).toMatchObject({
      stdout: `${backupId}\n`,
      stderr: 'nothing was deleted: this was a dry run\n',
    });
    const nothing = await agentForTest({ methods: { deleteBackups: streamOf() } });
    expect(await on(nothing, 'delete', 'rbd/vm1', '--keep-last', '3')).toMatchObject({
      status: 0,
      stdout: '',
      stderr: 'nothing to delete\n',
    });
  });

  const broken = () =>
    agentForTest({
      methods: {
        deleteBackups: serverStream(async function* () {
          yield deleted(backupId);
          await Promise.reject(new FerryError('BACKUP_NOT_FOUND', 'there is no backup x'));
        }),
      },
    });

  it('that breaks off tells what is gone already', async () => {
    const { status, stdout, stderr } = await on(await broken(), 'delete', backupId, secondId);
    expect({ status, stdout }).toEqual({ status: 24, stdout: `${backupId}\n` });
    expect(stderr).toMatch(/^rbdferry: BACKUP_NOT_FOUND: there is no backup x\nhint: /);
    const json = await on(await broken(), 'delete', backupId, secondId, '--json');
    expect(json.status).toBe(24);
    expect(JSON.parse(json.stdout)).toMatchObject({ deleted: [backupId], error: { code: 'BACKUP_NOT_FOUND' } });
  });

  it.each([
    [['--chain', `cold/${chain}`], { $case: 'chain', value: `cold/${chain}` }],
    [['--chain', chain], { $case: 'chain', value: chain }],
    [
      ['rbd/vm1', 'rbd/ns/vm2', '--older-than', '30d', '--keep-last', '3', '--keep-full', '2'],
      {
        $case: 'policy',
        value: {
          images: ['rbd/vm1', 'rbd/ns/vm2'],
          allImages: false,
          olderThanMs: 2_592_000_000n,
          keepLast: 3,
          keepFull: 2,
        },
      },
    ],
    [
      ['--all-images', '--older-than', '2w'],
      { $case: 'policy', value: { images: [], allImages: true, olderThanMs: 1_209_600_000n } },
    ],
  ])('%j', async (args, selection) => {
    const agent = await agentForTest();
    expect(await on(agent, 'delete', ...args, '--store', 'cold')).toMatchObject({ status: 0 });
    expect(lastRequest(agent)).toMatchObject({ selection, store: 'cold' });
  });

  it('--source-snapshots names what is left on the source', async () => {
    const agent = await agentForTest();
    expect(await on(agent, 'delete', '--source-snapshots', 'rbd/vm1', 'rbd/vm2', '--store', 'cold')).toMatchObject({
      status: 0,
      stdout: 'rbd/vm1@2026-11-24.22:40:43.707889.snap\nrbd/vm2@2026-11-24.22:40:43.707889.snap\n',
      stderr:
        'the next backup of rbd/vm1 to this store will be a full one\nthe next backup of rbd/vm2 to this store will be a full one\n',
    });
    expect(agent.calls).toMatchObject([
      { request: { image: 'rbd/vm1', store: 'cold', dryRun: false } },
      { request: { image: 'rbd/vm2' } },
    ]);
    const none = await agentForTest({
      methods: { deleteSourceSnapshots: unary(() => Promise.resolve({ snapshots: [] })) },
    });
    expect(await on(none, 'delete', '--source-snapshots', 'rbd/vm1', '--json')).toMatchObject({
      status: 0,
      stdout: '{"dryRun":false,"deleted":[],"trashed":[],"kept":[],"notes":["nothing to delete"],"error":null}\n',
    });
  });

  it.each([
    [[], 2, 'nothing is named'],
    [['rbd/vm1'], 2, 'is an image or a chain'],
    [[`rbd2/${chain}`], 2, 'is an image or a chain'],
    [['vm1'], 11, 'INVALID_BACKUP_ID'],
    [['rbd2/x@y'], 11, 'INVALID_BACKUP_ID'],
    [['--chain', 'vm1'], 2, '[STORE/]IMAGE.TIMESTAMP.bkp.image'],
    [['--chain', chain, backupId], 2, 'no further arguments'],
    [['--chain', chain, '--keep-last', '1'], 2, 'do not go together'],
    [['--source-snapshots'], 2, 'needs images'],
    [['--source-snapshots', 'rbd/vm1', '--keep-last', '1'], 2, 'do not go together'],
    [['--source-snapshots', backupId], 2, 'are for images'],
    [['--all-images'], 2, 'goes with a rule'],
    [['--all-images', 'rbd/vm1', '--keep-last', '1'], 2, 'goes with a rule'],
    [['--all-images', backupId], 2, 'goes with a rule'],
    [['--keep-last', '1'], 2, 'needs images, or --all-images'],
    [[backupId, '--keep-last', '1'], 2, 'are for images'],
    [['vm1', '--keep-last', '1'], 10, 'INVALID_IMAGE_SPEC'],
    [['rbd/vm1', '--keep-last', '0'], 2, 'whole number'],
    [['rbd/vm1', '--keep-full', '-1'], 2, 'whole number'],
    [['rbd/vm1', '--older-than', '30'], 2, '36h, 30d or 2w'],
  ])('%j is refused before anybody is asked', async (args, status, words) => {
    const end = await on(nowhere, 'delete', ...args);
    expect(end).toMatchObject({ status, stdout: '' });
    expect(end.stderr).toContain(words);
  });
});

const oneMiB = 1_048_576n;
const increment = (addedBytes: bigint, over = {}) =>
  backupUsageOf(addedBytes, { backupId: secondId, kind: BackupKind.INCREMENTAL, ...over });
const legacyChain = usageOf([backupUsageOf(5n, { streamBytes: 0n })], {
  source: undefined,
  client: '',
  legacy: true,
  active: false,
});

describe('du', () => {
  const methods = {
    getUsage: streamOf(usageOf([backupUsageOf(3n * oneMiB), increment(oneMiB - 1n)]), legacyChain),
  };

  it('shows a line for each chain, and the total', async () => {
    const { status, stdout, stderr } = await on(await agentForTest({ methods }), 'du');
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toBe(
      [
        'IMAGE    BACKUPS   SIZE   USED  CHAIN',
        `rbd/vm1        2  1 GiB  4 MiB  rbd2/${chain}`,
        `vm1            1  1 GiB    5 B  rbd2/${chain}`,
        'total          3         4 MiB',
        '',
      ].join('\n'),
    );
  });

  it('--mb prints one whole number, rounded down', async () => {
    expect(await on(await agentForTest({ methods }), 'du', '--mb')).toMatchObject({ stdout: '4\n', stderr: '' });
    const less = { getUsage: streamOf(usageOf([backupUsageOf(4n * oneMiB - 1n)])) };
    expect(await on(await agentForTest({ methods: less }), 'du', '--mb')).toMatchObject({ stdout: '3\n' });
    expect(await on(await agentForTest({ methods: { getUsage: streamOf() } }), 'du', '--mb')).toMatchObject({
      status: 0,
      stdout: '0\n',
    });
  });

  it('--json is exact', async () => {
    const { stdout } = await on(await agentForTest({ methods }), 'du', '--json');
    expect(JSON.parse(stdout)).toMatchObject({
      usedBytes: 4 * 1_048_576 - 1 + 5,
      backups: 3,
      chains: [
        {
          store: 'rbd2',
          name: chain,
          image: 'rbd/vm1',
          client: 'agent1',
          usedBytes: 4 * 1_048_576 - 1,
          sizeBytes: 1_073_741_824,
          backups: [
            { id: backupId, kind: 'full', addedBytes: 3 * 1_048_576, streamBytes: 314_572_800 },
            { id: secondId, kind: 'incremental', addedBytes: 1_048_575 },
          ],
        },
        { image: 'vm1', source: null, client: null, legacy: true, backups: [{ streamBytes: null }] },
      ],
    });
  });

  it.each([
    [[], { image: '', backupId: '', store: '', allStores: false }],
    [['rbd/ns/vm1', '--store', 'cold'], { image: 'rbd/ns/vm1', store: 'cold' }],
    [[backupId], { image: '', backupId }],
    [[chain], { image: '', chain }],
    [[`rbd2/${chain}`], { image: '', chain: `rbd2/${chain}` }],
    [['--all-stores', '--receiver', 'far'], { allStores: true, receiver: 'far' }],
  ])('%j asks for no more', async (args, request) => {
    const agent = await agentForTest();
    expect(await on(agent, 'du', ...args)).toMatchObject({ status: 0 });
    expect(lastRequest(agent)).toMatchObject(request);
  });

  it('tells of a chain that cannot be read beside the others', async () => {
    const some = {
      getUsage: streamOf({ usage: undefined, unreadable: unreadableChain }, usageOf([backupUsageOf(5n)])),
    };
    const agent = await agentForTest({ methods: some });
    const { status, stdout, stderr } = await on(agent, 'du', '--json');
    expect(status).toBe(0);
    expect(stderr).toContain(`${unreadableChain.name} is left out, it cannot be read: CEPH_PERMISSION`);
    expect(JSON.parse(stdout)).toMatchObject({ usedBytes: 5, missing: [{ error: { code: 'CEPH_PERMISSION' } }] });
    const report = await on(agent, 'report');
    expect(report).toMatchObject({ status: 0, stderr });
    expect(report.stdout).toContain(',5,');
  });

  it('of nothing says so', async () => {
    const nothing = { getUsage: streamOf() };
    expect(await on(await agentForTest({ methods: nothing }), 'du', 'rbd/vm1')).toMatchObject({
      status: 0,
      stdout: '',
      stderr: 'no backups of rbd/vm1\n',
    });
  });

  it.each([
    [['--all-stores', '--store', 'x'], 2, 'cannot be used with'],
    [['--mb', '--json'], 2, 'do not go together'],
    [['vm1'], 10, 'INVALID_IMAGE_SPEC'],
    [['a/b@c'], 11, 'INVALID_BACKUP_ID'],
  ])('%j is refused', async (args, status, words) => {
    const end = await on(nowhere, 'du', ...args);
    expect(end).toMatchObject({ status, stdout: '' });
    expect(end.stderr).toContain(words);
  });
});

describe('report', () => {
  const day = 86_400_000;
  const methods = {
    getUsage: streamOf(
      usageOf([backupUsageOf(100n, { committedAtMs: BigInt(at - day) }), increment(7n, { sizeBytes: 2n * oneMiB })]),
      usageOf([backupUsageOf(1n)], {
        source: { fsid: 'f5', image: { pool: 'rbd', namespace: 'ns', image: 'a,"b"' }, imageId: '1' },
        client: 'agent, two',
      }),
      legacyChain,
    ),
  };

  it('is CSV of RFC 4180', async () => {
    const { status, stdout, stderr } = await on(await agentForTest({ methods }), 'report');
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toBe(
      [
        'store,client,pool,namespace,image,fsid,full_backups,incremental_backups,added_bytes,stream_bytes,size_bytes,first_committed_at,last_committed_at',
        'rbd2,,,,vm1,,1,0,5,0,1073741824,2026-11-24T22:41:43.000Z,2026-11-24T22:41:43.000Z',
        'rbd2,"agent, two",rbd,ns,"a,""b""",f5,1,0,1,314572800,1073741824,2026-11-24T22:41:43.000Z,2026-11-24T22:41:43.000Z',
        'rbd2,agent1,rbd,,vm1,f5,1,1,107,629145600,2097152,2026-11-23T22:40:43.000Z,2026-11-24T22:41:43.000Z',
        '',
      ].join('\r\n'),
    );
  });

  it.each([
    [['--from', '2026-11-24'], 7, 0, 1],
    [['--until', '2026-11-24'], 100, 1, 0],
    [['--from', '2026-11-23T22:40:43Z', '--until', '2026-11-24T23:41:43+01:00'], 100, 1, 0],
    [['--from', '2026-11-23 22:40:43'], 107, 1, 1],
  ])('%j', async (args, addedBytes, fullBackups, incrementalBackups) => {
    const { stdout } = await on(await agentForTest({ methods }), 'report', ...args, '--json');
    const line = (JSON.parse(stdout) as { client: string }[]).find(({ client }) => client === 'agent1');
    expect(line).toMatchObject({ pool: 'rbd', namespace: '', addedBytes, fullBackups, incrementalBackups });
  });

  it.each(['2026-11-25', '2026-11-24'])('--from 2026-11-25 --until %s is refused', async (until) => {
    const end = await on(nowhere, 'report', '--from', '2026-11-25', '--until', until);
    expect(end).toMatchObject({ status: 2, stdout: '' });
    expect(end.stderr).toContain('is not before --until');
  });

  it('splits a chain that two images share, and takes the size of the last in the chain though the clock ran back', async () => {
    const copy = { fsid: 'f5', image: { pool: 'rbd', namespace: '', image: 'copy' }, imageId: '7' };
    const shared = [
      backupUsageOf(100n, { committedAtMs: BigInt(at + day) }),
      increment(7n, { source: copy, sizeBytes: 2n }),
      increment(5n, { sizeBytes: 3n, committedAtMs: BigInt(at) }),
    ];
    const agent = await agentForTest({ methods: { getUsage: streamOf(usageOf(shared)) } });
    expect(JSON.parse((await on(agent, 'report', '--json')).stdout)).toMatchObject([
      { image: 'copy', addedBytes: 7, sizeBytes: 2, fullBackups: 0 },
      { image: 'vm1', addedBytes: 105, sizeBytes: 3, fullBackups: 1 },
    ]);
    expect((await on(agent, 'du')).stdout).toContain('rbd/vm1, rbd/copy');
  });

  it('of nothing is an empty report', async () => {
    const agent = await agentForTest({ methods });
    expect(await on(agent, 'report', '--until', '2000-01-01', '--json')).toMatchObject({ status: 0, stdout: '[]\n' });
    const { stdout } = await on(agent, 'report', '--until', '2000-01-01');
    expect(stdout.trimEnd().split('\r\n')).toHaveLength(1);
  });

  it.each(['yesterday', '2026-13-01', '2026-02-30', '24.11.2026', '2026', '1764000000000'])(
    '--from %s is refused',
    async (text) => {
      const end = await on(nowhere, 'report', '--from', text);
      expect(end).toMatchObject({ status: 2, stdout: '' });
      expect(end.stderr).toContain('Expected a day or a time');
    },
  );
});

describe('dump', () => {
  it('joins what is known with what is measured', async () => {
    const methods = {
      listBackups: streamOf(chainOf(backupOf(), backupOf({ id: secondId, kind: BackupKind.INCREMENTAL }))),
      getUsage: streamOf(usageOf([backupUsageOf(3n * oneMiB)])),
    };
    const agent = await agentForTest({ methods });
    const { status, stdout } = await on(agent, 'dump', 'rbd/vm1', '--store', 'rbd2');
    expect(status).toBe(0);
    expect(stdout).toBe(
      [
        `rbd/vm1  active  rbd2/${chain}  3 MiB used`,
        '  SNAPSHOT              KIND               SIZE      STREAM       ADDED  ON SOURCE  SHORT ID  ID',
        `  2026-11-24 22:40:43Z  full              1 GiB     300 MiB       3 MiB  -          89363955  ${backupId}`,
        `  2026-11-24 23:40:43Z  incremental       1 GiB     300 MiB           -  yes        dcda8dc1  ${secondId}`,
        '',
      ].join('\n'),
    );
    expect(agent.calls.filter(({ method }) => method !== 'getAgentInfo')).toMatchObject([
      { method: 'listBackups', request: { image: 'rbd/vm1', store: 'rbd2' } },
      { method: 'getUsage', request: { image: 'rbd/vm1', store: 'rbd2', allStores: false } },
    ]);
    expect(JSON.parse((await on(agent, 'dump', '--json')).stdout)).toMatchObject([
      { name: chain, usedBytes: 3 * 1_048_576, backups: [{ addedBytes: 3 * 1_048_576 }, { addedBytes: null }] },
    ]);
  });

  it('of nothing measures nothing', async () => {
    const agent = await agentForTest({ methods: { listBackups: streamOf() } });
    expect(await on(agent, 'dump')).toMatchObject({ status: 0, stdout: '', stderr: 'no backups\n' });
    expect(agent.calls.map(({ method }) => method)).not.toContain('getUsage');
  });
});

it.each([['delete', backupId], ['delete', '--source-snapshots', 'rbd/vm1'], ['du'], ['report'], ['dump']])(
  '%s %s: an agent that is not there is told',
  async (...args) => {
    const end = await on(nowhere, ...args);
    expect(end).toMatchObject({ status: 40, stdout: '' });
    expect(end.stderr).toMatch(/AGENT_UNREACHABLE: there is no socket "\/nowhere"\nhint: /);
  },
);
