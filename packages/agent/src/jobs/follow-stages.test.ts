import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { ErrorCode } from '@rbdferry/core/errors/registry.js';
import { PeerLife, RbdLife } from '@rbdferry/core/transfer/life.js';
import { TransferStages } from '@rbdferry/core/transfer/transfer-stages.js';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

/** Timers of node:timers/promises are not faked: each wait is a step that the test lets happen. */
const wait = vi.hoisted(() => ({ next: () => {} }));
vi.mock('node:timers/promises', () => ({
  setTimeout: (_: number, __: unknown, { signal }: { signal: AbortSignal }) =>
    new Promise<void>((resolve, reject) => {
      wait.next = resolve;
      signal.addEventListener('abort', () => {
        reject(new Error('aborted'));
      });
    }),
}));

const { followStages } = await import('./follow-stages.js');

const tick = async () => {
  wait.next();
  for (let turn = 0; turn < 10; turn += 1) await Promise.resolve();
};

describe('comparing with the receiver beside a transfer', () => {
  let asked: string[];
  let answers: (ErrorCode | 'ok')[];
  let ending: AbortController;
  let ended: boolean;

  beforeEach(() => {
    asked = [];
    ending = new AbortController();
    ended = false;
  });

  afterEach(() => {
    ending.abort();
  });

  const start = (...given: typeof answers) => {
    answers = given;
    const receiver = {
      compareWaits: (id: string) => {
        asked.push(id);
        const answer = answers.shift() ?? 'ok';
        return answer === 'ok' ? Promise.resolve() : Promise.reject(new FerryError(answer, 'no'));
      },
    };
    const lives = { rbd: new RbdLife('source'), peer: new PeerLife('receiver') };
    const options = { stages: new TransferStages('sender'), lives, signal: ending.signal };
    void followStages(receiver, 'id', options).then(() => {
      ended = true;
    });
  };

  it('asks again and again, whatever goes wrong, until the transfer has ended', async () => {
    start('ok', 'RECEIVER_UNREACHABLE', 'INTERNAL');
    for (let round = 0; round < 4; round += 1) await tick();
    expect(asked).toEqual(['id', 'id', 'id', 'id']);
    expect(ended).toBe(false);
    ending.abort();
    await tick();
    expect(ended).toBe(true);
  });

  it('leaves an older receiver alone, which does not know the question', async () => {
    start('PROTOCOL_MISMATCH');
    await tick();
    expect(ended).toBe(true);
    await tick();
    expect(asked).toEqual(['id']);
  });
});
