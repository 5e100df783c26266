import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AdminSocket } from './admin-socket.js';
import { startChild, type Child } from './child.js';
import { clientAddress, endFenced } from './fenced-end.js';

/** What a Ceph client does with its admin socket: answers, and writes what it sends into the log that it is told. */
const client = String.raw`
const { appendFileSync } = require('node:fs');
const socket = process.argv.at(-1).replace('--admin-socket=', '');
const settings = {};
require('node:net').createServer((asking) => asking.on('data', (data) => {
  const { var: option, val } = JSON.parse(data.toString().slice(0, -1));
  settings[option] = val[0];
  if (option === 'debug_ms') setTimeout(() => appendFileSync(settings.log_file, LINES), 150);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(2);
  asking.end(Buffer.concat([length, Buffer.from('{}')]));
})).listen(socket, () => console.log('up'));
`;
const connecting = '2026-11-30T15:34:19.145+0000 7f8f517fa6c0  1 -- start start\n';
const sending = (address: string): string =>
  `${connecting}2026-11-30T15:34:19.145+0000 7f8f517fa6c0  1 -- ${address} --> v2:127.0.0.1:19409/9426 -- ping magic: 0 v1\n`;

let socket: AdminSocket;
let child: Child | null;
let fenced: string[];
const fence = (address: string): Promise<void> => {
  fenced.push(address);
  return Promise.resolve();
};

beforeEach(() => {
  socket = new AdminSocket();
  child = null;
  fenced = [];
});

afterEach(async () => {
  child?.terminate();
  await child?.ended;
  socket.remove();
});

const start = async (script: string): Promise<Child> => {
  const args = ['-e', script, '--', ...socket.args];
  child = startChild({ program: process.execPath, args }, { input: false, killGraceMs: 1000 });
  await new Promise((resolve) => child?.stdout.once('data', resolve));
  return child;
};

describe('the end of a client that may have an image open for writing', () => {
  it.each(['127.0.0.1:0/784758461', '[2001:db8::7]:0/17'])(
    'is followed by shutting out its address, %s',
    async (address) => {
      const running = await start(client.replace('LINES', JSON.stringify(sending(address))));
      await endFenced(running, clientAddress(socket), fence);
      expect(await running.ended).toMatchObject({ signal: 'SIGTERM' });
      expect(fenced).toEqual([address]);
    },
  );

  it('is only the end when it cannot be asked', async () => {
    const running = await start(`console.log('up'); setInterval(() => {}, 1000);`);
    await endFenced(running, clientAddress(socket), fence);
    expect(await running.ended).toMatchObject({ signal: 'SIGTERM' });
    expect(fenced).toEqual([]);
  });

  it('shuts nobody out who ended by himself', async () => {
    const running = await start(`console.log('up'); setTimeout(() => {}, 300);`);
    const address = sleep(1000, '127.0.0.1:0/1');
    await endFenced(running, address, fence);
    expect(await running.ended).toMatchObject({ exitCode: 0 });
    expect(fenced).toEqual([]);
  });

  it('comes though it takes the question and says nothing, or sends nothing', async () => {
    const silent = await start(
      `require('node:net').createServer(() => {}).listen(process.argv.at(-1).replace('--admin-socket=', ''), () => console.log('up'));`,
    );
    await endFenced(silent, clientAddress(socket, 500), fence);
    socket.remove();
    socket = new AdminSocket();
    const idle = await start(client.replace('LINES', JSON.stringify(connecting)));
    await endFenced(idle, clientAddress(socket, 500), fence);
    expect(fenced).toEqual([]);
  });
});
