import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from 'vitest';
import { startCluster } from './cluster.js';
import { leftOver, settledLeftOver } from './left-over.js';

const COMPILED = fileURLToPath(new URL('../dist/ceph/', import.meta.url));
const victims: ChildProcess[] = [];

afterEach(() => {
  for (const victim of victims.splice(0)) victim.kill('SIGKILL');
});

/** Starts a process, in a process group of its own, that starts a cluster and has a hung rbd. */
async function startVictim(): Promise<{ pid: number; dir: string; keeperPid: number }> {
  const program = `
    import { startCluster } from ${JSON.stringify(`${COMPILED}cluster.js`)};
    const cluster = await startCluster({ name: "victim", pools: ["rbd"] });
    process.kill(cluster.daemonPids().get("osd.0"), "SIGSTOP");
    cluster.rbd(["ls", "rbd"], { timeoutMs: 600_000 }).catch(() => {});
    setTimeout(() => console.log(JSON.stringify([cluster.dir, cluster.keeperPid])), 300);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  victims.push(child);
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
  const [dir, keeperPid] = JSON.parse(line) as [string, number];
  if (child.pid === undefined) throw new Error('the victim was not started');
  return { pid: child.pid, dir, keeperPid };
}

test('these tests have compiled code to run', () => {
  expect(existsSync(`${COMPILED}cluster.js`), 'run npx tsc -b test first').toBe(true);
});

test.each(['SIGKILL', 'SIGINT'] as const)(
  'nothing is left when %s ends the process that started a cluster, and its whole group',
  async (signal) => {
    const victim = await startVictim();
    const before = leftOver(victim.dir).join('\n');
    expect(before).toMatch(/ceph-mon[^]*/);
    expect(before).toMatch(/rbd .* ls rbd/);

    process.kill(-victim.pid, signal);
    expect(await settledLeftOver(victim.dir)).toEqual([]);
  },
  60_000,
);

test('nothing is left when only the process itself is killed', async () => {
  const victim = await startVictim();
  process.kill(victim.pid, 'SIGKILL');
  expect(await settledLeftOver(victim.dir)).toEqual([]);
}, 60_000);

test('daemons die with a killed keeper, and the next cluster removes the directory', async () => {
  const { dir, keeperPid, pid } = await startVictim();
  process.kill(keeperPid, 'SIGKILL');
  process.kill(pid, 'SIGKILL');
  await settledLeftOver(dir, 1_000);
  expect(leftOver(dir).filter((left) => /ceph-(mon|osd)/.test(left))).toEqual([]);

  const next = await startCluster({ name: 'next' });
  await next.stop();
  expect(leftOver(dir)).toEqual([]);
}, 60_000);

test('a cluster that cannot come up leaves nothing and says what its daemons logged', async () => {
  const noPorts = { ms_bind_port_min: '2', ms_bind_port_max: '1' };
  const error = await startCluster({ name: 'broken', extraConf: noPorts }).then((cluster) => cluster.stop(), String);

  expect(error).toContain('the test cluster did not come up: ');
  expect(error).toContain('osd.0 ended with exit status 1');
  expect(error).toContain('--- osd.0.log');
  const [dir] = /\/\S+\/rbdf-ceph-\w+/.exec(String(error)) ?? [];
  expect(dir).toBeDefined();
  expect(leftOver(String(dir))).toEqual([]);
}, 60_000);
