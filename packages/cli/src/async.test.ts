import { describe, expect, it } from 'vitest';
import {
  agentForTest,
  backupId,
  cancelled,
  committed,
  failed,
  jobOf,
  queued,
  running,
  serverStream,
  type FakeAgent,
} from '../test/fake-agent.js';
import { runCli, runProcess } from '../test/run-cli.js';
import type { Job } from '@rbdferry/core/gen/rbdferry/v1/control.js';

/** `--async` and `--idempotency-key`, against a real gRPC server that plays the agent. */

const on = ({ socket }: FakeAgent, ...args: string[]) => runCli(['--socket', socket, ...args]);

const planning: NonNullable<Job['state']> & { $case: 'running' } = {
  $case: 'running',
  value: {
    phase: 'plan',
    doneBytes: 0n,
    totalBytes: undefined,
    rateBytesPerSecond: 0n,
    etaSeconds: undefined,
    cancelling: false,
    waitsFor: '',
    stages: undefined,
  },
};
const waiting: Job['state'] = { $case: 'queued', value: { waitsFor: 'one of 2 transfers to end' } };
const restoring = { kind: 2, image: 'rbd/vm2', backupId };

describe('backup --async', () => {
  it('tells the id of the job, and leaves when it is planned', async () => {
    const states = [jobOf(queued), jobOf(planning, { backupId: '' }), jobOf(running(1n))];
    const agent = await agentForTest({ states });
    expect(await on(agent, 'backup', 'rbd/vm1', '--async')).toMatchObject({
      status: 0,
      stdout: 'k3v9x2m7qa\n',
      stderr: '',
    });
  });

  it('does not wait in the queue', async () => {
    const agent = await agentForTest({ states: [jobOf(waiting, { backupId: '' })] });
    expect(await on(agent, 'backup', 'rbd/vm1', '--async')).toMatchObject({
      status: 0,
      stdout: 'k3v9x2m7qa\n',
      stderr: '',
    });
    expect(agent.calls.map(({ method }) => method)).toEqual(['startBackup']);
  });

  it('does not wait for another job on the image once it runs', async () => {
    const held = { ...planning, value: { ...planning.value, waitsFor: 'another job on rbd/vm1' } };
    const endless = serverStream(async function* (_, { signal }) {
      yield { job: jobOf(held, { backupId: '' }) };
      await new Promise((resolve) => {
        signal.addEventListener('abort', resolve);
      });
    });
    const agent = await agentForTest({ states: [jobOf(queued)], methods: { watchJob: endless } });
    // The process ends too, though the agent goes on telling.
    const end = await runProcess(['--socket', agent.socket, 'backup', 'rbd/vm1', '--async']);
    expect(end).toMatchObject({ status: 0, stdout: 'k3v9x2m7qa\n' });
  });

  it('with --json does not wait in the queue either', async () => {
    const agent = await agentForTest({ states: [jobOf(waiting, { backupId: '' })] });
    const { status, stdout, stderr } = await on(agent, 'backup', 'rbd/vm1', '--async', '--json');
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(JSON.parse(stdout)).toMatchObject({ id: 'k3v9x2m7qa', state: 'queued', backupId: null });
    expect(agent.calls.map(({ method }) => method)).toEqual(['startBackup']);
  });

  it.each([
    ['refused', failed('IMAGE_NOT_FOUND', 'there is no image "rbd/vm1"', 'look'), 20, 'IMAGE_NOT_FOUND'],
    ['cancelled', cancelled, 130, 'was cancelled'],
  ] as const)('that is %s while it is planned fails', async (_, state, status, words) => {
    const states = [jobOf(queued), jobOf(planning, { backupId: '' }), jobOf(state, { backupId: '' })];
    const end = await on(await agentForTest({ states }), 'backup', 'rbd/vm1', '--async');
    expect(end).toMatchObject({ status, stdout: 'k3v9x2m7qa\n' });
    expect(end.stderr).toContain(words);
  });

  it('of a job that has ended already tells its end', async () => {
    const agent = await agentForTest({ states: [jobOf(committed('a warning'))] });
    expect(await on(agent, 'backup', 'rbd/vm1', '--async')).toMatchObject({
      status: 0,
      stdout: 'k3v9x2m7qa\n',
      stderr: 'warning: a warning\n',
    });
  });

  it('is not fooled by an agent that goes away', async () => {
    const agent = await agentForTest({ states: [jobOf(queued), jobOf(planning, { backupId: '' })] });
    const { status, stdout, stderr } = await on(agent, 'backup', 'rbd/vm1', '--async');
    expect({ status, stdout }).toEqual({ status: 72, stdout: 'k3v9x2m7qa\n' });
    expect(stderr).toContain('rbdferry job show k3v9x2m7qa');
  });
});

describe('restore --async', () => {
  it('waits for the plan, which may refuse', async () => {
    const states = [jobOf(queued, restoring), jobOf(planning, restoring), jobOf(running(1n), restoring)];
    const agent = await agentForTest({ states });
    expect(await on(agent, 'restore', backupId, '--async')).toMatchObject({ status: 0, stdout: 'k3v9x2m7qa\n' });
    const exists = [jobOf(planning, restoring), jobOf(failed('IMAGE_EXISTS', 'it exists', 'elsewhere'), restoring)];
    const refused = await on(await agentForTest({ states: exists }), 'restore', backupId, '--async');
    expect(refused).toMatchObject({ status: 34, stdout: 'k3v9x2m7qa\n' });
  });

  it('does not wait in the queue', async () => {
    const agent = await agentForTest({ states: [jobOf(waiting, { ...restoring, image: '' })] });
    expect(await on(agent, 'restore', backupId, '--async')).toMatchObject({ status: 0, stdout: 'k3v9x2m7qa\n' });
    expect(agent.calls.map(({ method }) => method)).toEqual(['startRestore']);
  });
});

it.each([
  ['startBackup', ['backup', 'rbd/vm1']],
  ['startRestore', ['restore', backupId]],
])('%s: the idempotency key is passed on', async (method, args) => {
  const agent = await agentForTest();
  expect(await on(agent, ...args, '--idempotency-key', 'night 1')).toMatchObject({ status: 0 });
  expect(agent.calls[0]).toMatchObject({ method, request: { idempotencyKey: 'night 1' } });
});
