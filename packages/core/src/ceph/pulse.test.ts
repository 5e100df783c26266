import { existsSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { AdminSocket } from './admin-socket.js';
import { Pulse } from './pulse.js';

/** A program's admin socket: takes a question, and answers its length and JSON. */
let server: Server | null = null;
let program: AdminSocket;
let pulse: Pulse;
let signs: number;
let asked: string[];

beforeEach(() => {
  // Only its own: the sockets are real ones.
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  signs = 0;
  asked = [];
  program = new AdminSocket();
  pulse = new Pulse(program, () => {
    signs += 1;
  });
});

afterEach(() => {
  pulse.stop();
  program.remove();
  server?.close();
  server = null;
  vi.useRealTimers();
});

const socketPath = (): string => program.args[0]?.replace('--admin-socket=', '') ?? '';

const answering = async (answer: () => string | null): Promise<void> => {
  const listening = createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', (question: Buffer) => {
      asked.push(question.toString());
      const text = answer();
      if (text === null) return;
      const length = Buffer.alloc(4);
      length.writeUInt32BE(text.length);
      socket.end(Buffer.concat([length, Buffer.from(text)]));
    });
  });
  server = listening;
  await new Promise<void>((resolve) => {
    listening.listen(socketPath(), resolve);
  });
};

const counters = (replies: number, pings: number): string =>
  JSON.stringify({ objecter: { op_active: 3, op_reply: replies, linger_ping: pings } });

/** A look, and time for what comes of it. */
const look = async (): Promise<void> => {
  vi.advanceTimersByTime(500);
  await sleep(30);
};

describe('the pulse of a program', () => {
  it('is there whenever its OSDs have answered, and not when they have not', async () => {
    let replies = 10;
    await answering(() => counters(replies, 0));
    await look();
    expect(signs).toBe(1);
    await look();
    expect(signs).toBe(1);
    replies += 1;
    await look();
    expect(signs).toBe(2);
    expect(asked[0]).toBe('{"prefix":"perf dump","logger":"objecter"}\0');
  });

  it('is not that what it watches answers its pings', async () => {
    let pings = 0;
    await answering(() => counters(13 + pings, pings));
    await look();
    expect(signs).toBe(1);
    for (pings = 1; pings < 5; pings += 1) await look();
    expect(signs).toBe(1);
  });

  it('is there when bytes come, and then nothing is asked', async () => {
    await answering(() => counters(1, 0));
    pulse.sawBytes();
    await look();
    expect([signs, asked.length]).toEqual([1, 0]);
    await look();
    expect([signs, asked.length]).toEqual([2, 1]);
  });

  it('is not felt in one that cannot be asked, says something else, or does not answer', async () => {
    await look();
    for (const text of ['', '{}', 'no JSON', '{"objecter":{"op_reply":"7"}}']) {
      await answering(() => text);
      await look();
      await new Promise((resolve) => server?.close(resolve));
    }
    await answering(() => null);
    await look();
    const before = asked.length;
    await look();
    expect([signs, asked.length]).toEqual([0, before]);
  });

  it('leaves nothing behind', async () => {
    const dir = path.dirname(socketPath());
    await answering(() => null);
    await look();
    expect(existsSync(dir)).toBe(true);
    pulse.stop();
    program.remove();
    expect(existsSync(dir)).toBe(false);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('is not felt where no socket can be made', async () => {
    for (const dir of [`/tmp/${'x'.repeat(100)}`, '/nope']) {
      vi.stubEnv('TMPDIR', dir);
      const none = new AdminSocket();
      vi.unstubAllEnvs();
      const blind = new Pulse(none, () => {});
      expect(none.args).toEqual([]);
      await look();
      blind.stop();
      none.remove();
    }
  });
});
