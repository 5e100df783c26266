import { describe, expect, it } from 'vitest';
import { agreeOnProtocol, protocolVersions } from './protocol.js';

const { min, max } = protocolVersions;
const peer = (protocolMin: number, protocolMax: number) => ({ protocolMin, protocolMax, software: 'other/9' });

describe('two sides', () => {
  it.each([
    [min, max, max],
    [max, max + 5, max],
    [0, max, max],
    [min, min, min],
  ])('that speak a common version agree on the newest: %i to %i', (from, to, agreed) => {
    expect(agreeOnProtocol(peer(from, to))).toBe(agreed);
  });

  it.each([
    [max + 1, max + 5],
    [0, min - 1],
    [0, 0],
    [max + 1, max],
    [4_294_967_295, 4_294_967_295],
  ])('that do not are told what each speaks: %i to %i', (from, to) => {
    expect(() => agreeOnProtocol(peer(from, to))).toThrow(
      expect.objectContaining({
        code: 'PROTOCOL_MISMATCH',
        message: expect.stringMatching(`"other/9" ${from} to ${to}`),
      }),
    );
  });
});
