import { findZstd, type Zstd } from '@rbdferry/core/compress/zstd.js';
import { Compression, type PullResponse } from '@rbdferry/core/gen/rbdferry/v1/transfer.js';
import { describe, expect, it } from 'vitest';
import { agreeOnCompression, compressionToWire, decompressing } from './compression.js';

const ours = async (): Promise<Zstd> => {
  const zstd = await findZstd();
  if (zstd === null) throw new Error('no zstd here');
  return zstd;
};

const receiver = { who: 'receiver "dr" at dr:7443', software: 'rbdferry/0.1.0', capabilities: ['other', 'zstd'] };

describe('compression', () => {
  it.each(['on', 'auto'] as const)('%s is agreed on where both can', async (wanted) => {
    const zstd = await ours();
    expect(agreeOnCompression(wanted, zstd, receiver)).toEqual({ kind: 'zstd', zstd, mode: wanted });
  });

  it('off is off, whoever could', async () => {
    expect(agreeOnCompression('off', await ours(), receiver)).toEqual({ kind: 'none' });
    expect(agreeOnCompression('off', null, { ...receiver, capabilities: [] })).toEqual({ kind: 'none' });
  });

  it('says who of the two cannot', async () => {
    expect(agreeOnCompression('auto', null, receiver)).toMatchObject({
      kind: 'impossible',
      why: expect.stringContaining('this agent cannot') as string,
    });
    expect(agreeOnCompression('auto', await ours(), { ...receiver, capabilities: ['other'] })).toEqual({
      kind: 'impossible',
      why: 'receiver "dr" at dr:7443 ("rbdferry/0.1.0") cannot',
    });
  });

  it('is asked for as agreed, and not without', async () => {
    const zstd = await ours();
    expect(compressionToWire({ kind: 'zstd', zstd, mode: 'on' })).toBe(Compression.ON);
    expect(compressionToWire({ kind: 'zstd', zstd, mode: 'auto' })).toBe(Compression.AUTO);
    expect(compressionToWire({ kind: 'none' })).toBe(Compression.UNSPECIFIED);
    expect(compressionToWire({ kind: 'impossible', why: '' })).toBe(Compression.UNSPECIFIED);
  });
});

describe('the messages of a pull', () => {
  const content = Buffer.from('the same again and again '.repeat(400));

  async function* pulled(): AsyncGenerator<PullResponse, void, undefined> {
    const frame = await (await ours()).compress(content);
    yield { part: { $case: 'estimatedBytes', value: 7n } };
    yield { part: { $case: 'zstd', value: { frame, contentBytes: content.length } } };
    yield { part: { $case: 'data', value: Buffer.from('as it is') } };
  }

  it('come in their order, what was compressed with its content', async () => {
    const zstd = await ours();
    const parts = [];
    for await (const { part } of decompressing({ kind: 'zstd', zstd, mode: 'on' }, pulled())) parts.push(part);
    expect(parts.map((part) => part?.$case)).toEqual(['estimatedBytes', 'piece', 'data']);
    const [, piece] = parts;
    expect(piece?.$case === 'piece' && Buffer.compare(piece.value.content.bytes, content)).toBe(0);
  });

  it('that are compressed without being asked for are refused', async () => {
    await expect(async () => {
      for await (const message of decompressing({ kind: 'none' }, pulled())) void message;
    }).rejects.toMatchObject({ code: 'INVALID_REQUEST' });
  });
});
