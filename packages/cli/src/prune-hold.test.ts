import type { DeleteBackupsResponse } from '@rbdferry/core/gen/rbdferry/v1/control.js';
import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { describe, expect, it } from 'vitest';
import { agentForTest, backupId, serverStream, streamOf, unary, type FakeAgent } from '../test/fake-agent.js';
import { runCli } from '../test/run-cli.js';

/** `prune`, `hold` and `release`, against a real gRPC server that plays the agent. */

const on = ({ socket }: Pick<FakeAgent, 'socket'>, ...args: string[]) => runCli(['--socket', socket, ...args]);
const lastRequest = ({ calls }: FakeAgent): unknown => calls.at(-1)?.request;
const otherId = backupId.replace('22:40:43', '23:40:43');

const event = (told: DeleteBackupsResponse['event']): DeleteBackupsResponse => ({ event: told, trashedUntilMs: 0n });
const policy = event({
  $case: 'policy',
  value: { rules: { daily: 7, minAgeMs: 1000n, timeZone: 'UTC' }, ofStore: true, text: 'daily 7; time zone UTC' },
});
const hold = { untilMs: 0n, reason: 'audit', sinceMs: 5n, client: 'agent1' };
const decided = (id: string, goes: boolean, kind: string) =>
  event({
    $case: 'decided',
    value: {
      backupId: id,
      image: 'rbd/vm1',
      goes,
      reasons: [{ kind, text: `${kind} it is`, bucket: '', hold: kind === 'held' ? hold : undefined }],
    },
  });
const deleted = event({ $case: 'deleted', value: otherId });

describe('prune', () => {
  const events = () => streamOf(policy, decided(backupId, false, 'held'), decided(otherId, true, 'no-rule'), deleted);

  it('asks for rules as they were given, and prints a line for each backup and for each that went', async () => {
    const agent = await agentForTest({ methods: { deleteBackups: events() } });
    const args = [
      '--keep-last',
      '0',
      '--keep-daily',
      '7',
      '--keep-within',
      '2d',
      '--min-age',
      '1h',
      '--time-zone',
      'UTC',
    ];
    expect(await on(agent, 'prune', 'rbd/vm1', ...args)).toMatchObject({
      status: 0,
      stdout: `${backupId}  kept: held it is\n${otherId}  goes: no-rule it is\ndeleted ${otherId}\n`,
      stderr: 'rules of the store: daily 7; time zone UTC\n1 went, 1 stay\n',
    });
    const rules = { last: 0, daily: 7, withinMs: 172_800_000n, minAgeMs: 3_600_000n, timeZone: 'UTC' };
    expect(lastRequest(agent)).toMatchObject({
      selection: { $case: 'policy', value: { images: ['rbd/vm1'], allImages: false, rules, explain: true } },
      dryRun: false,
    });
  });

  it('dry, as JSON', async () => {
    const agent = await agentForTest({ methods: { deleteBackups: events() } });
    const { stdout, stderr } = await on(agent, 'prune', '--all-images', '--dry-run', '--json');
    expect(stderr).toBe('');
    expect(JSON.parse(stdout)).toEqual({
      dryRun: true,
      policy: {
        from: 'store',
        text: 'daily 7; time zone UTC',
        keep: { last: 0, hourly: 0, daily: 7, weekly: 0, monthly: 0, yearly: 0, withinMs: 0 },
        minAgeMs: 1000,
        timeZone: 'UTC',
      },
      decisions: [
        {
          id: backupId,
          image: 'rbd/vm1',
          goes: false,
          text: 'kept: held it is',
          reasons: [
            {
              kind: 'held',
              text: 'held it is',
              bucket: null,
              hold: { until: null, reason: 'audit', since: '1970-01-01T00:00:00.005Z', client: 'agent1' },
            },
          ],
        },
        {
          id: otherId,
          image: 'rbd/vm1',
          goes: true,
          text: 'goes: no-rule it is',
          reasons: [{ kind: 'no-rule', text: 'no-rule it is', bucket: null, hold: null }],
        },
      ],
      deleted: [otherId],
      trashed: [],
      kept: [],
      notes: [],
      error: null,
    });
  });

  it('that breaks off tells what went', async () => {
    const deleteBackups = serverStream<unknown, DeleteBackupsResponse>(async function* () {
      yield* [policy, decided(otherId, true, 'no-rule'), deleted];
      throw new FerryError('IMAGE_BUSY', 'somebody is at it');
    });
    const { status, stdout } = await on(await agentForTest({ methods: { deleteBackups } }), 'prune', 'rbd/vm1');
    expect({ status, last: stdout.trimEnd().split('\n').at(-1) }).toEqual({ status: 33, last: `deleted ${otherId}` });
  });

  it.each([
    [[]],
    [['--all-images', 'rbd/vm1']],
    [['rbd/vm1', '--keep-daily', 'many']],
    [['rbd/vm1', '--time-zone', '+02:00']],
    [['rbd/vm1', '--min-age', 'soon']],
  ])('%j is no command', async (args) => {
    expect(await on({ socket: '/nowhere' }, 'prune', ...args)).toMatchObject({ status: 2, stdout: '' });
  });
});

describe('hold and release', () => {
  it('ask for what was said, and say what it is now', async () => {
    const methods = {
      holdBackup: unary(() =>
        Promise.resolve({ backupId, hold: { ...hold, untilMs: 1_814_313_600_000n }, before: hold }),
      ),
      releaseBackup: unary(() => Promise.resolve({ backupId, before: hold })),
    };
    const agent = await agentForTest({ methods });
    expect(await on(agent, 'hold', backupId, '--until', '2027-06-30', '--reason', 'audit')).toMatchObject({
      status: 0,
      stdout: '',
      stderr: `it was held ("audit") before\n${backupId} is held until 2027-06-30T00:00:00Z ("audit")\n`,
    });
    const asked = { untilMs: BigInt(Date.parse('2027-06-30T00:00Z')), reason: 'audit' };
    expect(lastRequest(agent)).toEqual({ backupId, receiver: '', store: '', hold: asked });
    const { stdout } = await on(agent, 'release', backupId, '--receiver', 'dr', '--json');
    expect(JSON.parse(stdout)).toMatchObject({ id: backupId, before: { until: null, reason: 'audit' } });
    expect(lastRequest(agent)).toEqual({ backupId, receiver: 'dr', store: '' });
  });
});
