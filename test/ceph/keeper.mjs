// The keeper: one small process per cluster that owns its directory and its daemons.
//
// It is plain JavaScript because it is spawned, never imported, and must run the same from
// compiled output and from source. usage: node keeper.mjs BASE_DIR, in its own session.
//
// Standard input, one JSON object a line:
//   {"kind":"start","name":"osd.0","argv":["ceph-osd",...]}   start (or start again) a daemon
//   {"kind":"persist"}                                        outlive the parent; end at SIGTERM
// Standard output, one JSON object a line:
//   {"kind":"ready","dir":...}  {"kind":"started","name":...,"pid":...}
//   {"kind":"exited","name":...,"code":...,"signal":...}  {"kind":"persisting"}  {"kind":"error","message":...}
//
// The end of standard input means that the parent is gone, however it died: the keeper then stops
// the daemons, removes the directory and exits.
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

const PREFIX = 'rbdf-ceph-';
const CLIENT_PROGRAMS = /^(rbd|rados|ceph|ceph-[a-z-]+|monmaptool|python3[.\d]*)$/;

const baseDir = process.argv[2] ?? '/tmp';
const daemons = new Map();
let dir;
let persistent = false;
let stopping = false;

function say(message) {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

function startDaemon({ name, argv }) {
  const output = fs.openSync(path.join(dir, `${name}.out`), 'a');
  // Should the keeper itself be killed, the kernel ends the daemons.
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', ...argv], {
    // Debian 13's OSDs look for their classes in a folder relative to this one; without them, every call of rbd is "not supported".
    cwd: '/',
    stdio: ['ignore', output, output],
    env: { PATH: process.env.PATH, LC_ALL: 'C' },
  });
  fs.closeSync(output);
  child.on('error', (error) => say({ kind: 'error', message: String(error) }));
  if (child.pid === undefined) return;
  daemons.set(name, child);
  child.on('exit', (code, signal) => {
    if (daemons.get(name) === child) daemons.delete(name);
    say({ kind: 'exited', name, code, signal });
  });
  say({ kind: 'started', name, pid: child.pid });
}

function receive(line) {
  if (stopping) return;
  const message = JSON.parse(line);
  if (message.kind === 'start') startDaemon(message);
  if (message.kind === 'persist') {
    persistent = true;
    say({ kind: 'persisting' });
  }
}

/** Process ids of Ceph programs (never of anything else) that were pointed at this directory. */
function cephProgramsOf(dir) {
  return fs.readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) return false;
    try {
      const argv = fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
      return (
        CLIENT_PROGRAMS.test(path.basename(argv[0] ?? '')) && argv.some((argument) => argument.includes(`${dir}/`))
      );
    } catch {
      return false; // it ended while we looked
    }
  });
}

function killCephProgramsOf(dir) {
  for (const pid of cephProgramsOf(dir)) {
    try {
      process.kill(Number(pid), 'SIGKILL');
    } catch {
      // it ended by itself
    }
  }
}

async function shutDown() {
  if (stopping) return;
  stopping = true;
  if (dir === undefined) process.exit(0);
  // A client that was just killed may have created one more file: look again until it stays away.
  for (let attempt = 0; attempt < 200; attempt += 1) {
    killEverything();
    if (tryToRemoveDir() && daemons.size === 0) process.exit(0);
    await sleep(20);
  }
  process.exit(1);
}

/** No TERM first: there is nothing to save, and a frozen or starting daemon would not heed it. */
function killEverything() {
  for (const child of daemons.values()) child.kill('SIGKILL');
  // Without its cluster an rbd command would hang for ever.
  killCephProgramsOf(dir);
}

function tryToRemoveDir() {
  if (daemons.size > 0 || cephProgramsOf(dir).length > 0) return false;
  try {
    fs.rmSync(dir, { recursive: true, force: true });
    return !fs.existsSync(dir);
  } catch {
    return false;
  }
}

function isLiveKeeper(pid) {
  try {
    return fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('keeper.mjs');
  } catch {
    return false;
  }
}

/** Removes directories whose keeper was killed or lost in a reboot; leaves what it cannot judge. */
function sweepOrphans() {
  for (const entry of fs.readdirSync(baseDir)) {
    if (!entry.startsWith(PREFIX)) continue;
    const candidate = path.join(baseDir, entry);
    try {
      if (isLiveKeeper(fs.readFileSync(path.join(candidate, 'keeper.pid'), 'utf8'))) continue;
      killCephProgramsOf(candidate);
      fs.rmSync(candidate, { recursive: true, force: true });
    } catch {
      // no claim in it, or another keeper sweeps at the same time
    }
  }
}

function claimDir() {
  fs.mkdirSync(baseDir, { recursive: true });
  sweepOrphans();
  dir = fs.mkdtempSync(path.join(baseDir, PREFIX));
  // Renamed into place, so that a sweeper never reads an empty file.
  const claim = path.join(dir, 'keeper.pid.new');
  fs.writeFileSync(claim, String(process.pid));
  fs.renameSync(claim, path.join(dir, 'keeper.pid'));
}

process.stdout.on('error', () => {}); // the parent went away; standard input tells us so as well
for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => void shutDown());
process.on('SIGINT', () => {}); // a terminal's Ctrl-C is for the parent
process.on('uncaughtException', (error) => {
  say({ kind: 'error', message: String(error.stack) });
  void shutDown();
});

const parentGone = () => {
  if (!persistent) void shutDown();
};
process.stdin.on('error', parentGone);
const input = createInterface({ input: process.stdin });
input.on('line', receive);
input.on('close', parentGone);
// A persistent keeper without daemons and without a parent has nothing else that keeps Node alive.
setInterval(() => {}, 1 << 30);

claimDir();
say({ kind: 'ready', dir });
