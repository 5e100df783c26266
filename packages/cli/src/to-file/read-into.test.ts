import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as diff from '@rbdferry/core/diff/diff-writer.js';
import type { ReadBackupResponse } from '@rbdferry/core/gen/rbdferry/v1/control.js';
import { StreamDigest } from '@rbdferry/core/transfer/stream-digest.js';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { agentForTest, backupId, backupOf, streamOf } from '../../test/fake-agent.js';
import { runCli } from '../../test/run-cli.js';

/** What an agent tells of a backup becomes a file when it is whole and right, and nothing else does. */

const sizeBytes = 100_000;
const snap = backupId.slice(backupId.indexOf('@') + 1);
/** Of the older tool, which says nothing of the image's layout. */
const backup = backupOf({ source: undefined, sizeBytes: BigInt(sizeBytes) });

type Part = NonNullable<ReadBackupResponse['part']>;
type Records = Uint8Array[];

const header = (size = sizeBytes): Records => [
  diff.encodeHeader({ fromSnap: null, toSnap: snap, sizeBytes: BigInt(size) }),
];
const dataAt = (offset: number, text: string): Records => [
  diff.encodeDataHeader(BigInt(offset), BigInt(text.length)),
  Buffer.from(text),
];
const zeroAt = (offset: number, length: number): Records => [diff.encodeZero(BigInt(offset), BigInt(length))];
const good: Records = [
  ...header(),
  ...dataAt(10, 'first'),
  ...zeroAt(20, 50),
  ...dataAt(99_990, 'end'),
  diff.encodeEnd(),
];

const first: Part = { $case: 'backup', value: backup };
const running: Part = {
  $case: 'running',
  value: {
    phase: 'transfer',
    doneBytes: 1n,
    totalBytes: undefined,
    rateBytesPerSecond: 0n,
    etaSeconds: undefined,
    cancelling: false,
    waitsFor: '',
    stages: undefined,
  },
};
const endOf = (bytes: Uint8Array): Part => {
  const digest = new StreamDigest();
  digest.update(bytes);
  return { $case: 'end', value: { streamBytes: BigInt(bytes.length), streamGmac: digest.digest() } };
};
/** The stream in messages of so many bytes. */
const messages = (records: Records, chunkBytes = 7): Part[] => {
  const whole = Buffer.concat(records);
  const parts: Part[] = [first];
  for (let at = 0; at < whole.length; at += chunkBytes)
    parts.push({ $case: 'data', value: Buffer.from(whole.subarray(at, at + chunkBytes)) });
  return [...parts, running, endOf(whole)];
};

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'rbdferry-read-into-'));
});
afterEach(() => {
  rmSync(dir, { recursive: true, force: true });
});

const restored = async (parts: readonly Part[]) => {
  const agent = await agentForTest({
    methods: { readBackup: streamOf<ReadBackupResponse>(...parts.map((part) => ({ part }))) },
  });
  return runCli(['restore', backupId, '--to-file', join(dir, 'x')], { RBDFERRY_SOCKET: agent.socket });
};

describe('a stream', () => {
  const expected = Buffer.alloc(sizeBytes);
  expected.write('first', 10);
  expected.write('end', 99_990);

  it.each([1, 7, 100_000])('becomes the content, in messages of %i bytes', async (chunkBytes) => {
    expect(await restored(messages(good, chunkBytes))).toMatchObject({ status: 0, stderr: '' });
    expect(readFileSync(join(dir, 'x')).equals(expected)).toBe(true);
  });

  it('of nothing becomes a hole', async () => {
    expect(await restored(messages([...header(), diff.encodeEnd()]))).toMatchObject({ status: 0 });
    expect(readFileSync(join(dir, 'x')).equals(Buffer.alloc(sizeBytes))).toBe(true);
  });
});

describe('nothing becomes of a stream', () => {
  const whole = Buffer.concat(good);
  const changed = Buffer.from(whole);
  changed[whole.indexOf('first')] = 0x46;

  it.each<[string, Part[], string]>([
    ['without its end', messages(good).slice(0, -1), 'DIGEST_MISMATCH'],
    ['that breaks off', messages(good).slice(0, 8), 'STREAM_TRUNCATED'],
    [
      'of which a byte was changed on the way',
      [first, { $case: 'data', value: changed }, endOf(whole)],
      'DIGEST_MISMATCH',
    ],
    [
      'of which a part came twice',
      messages([...good.slice(0, -1), ...dataAt(10, 'again'), diff.encodeEnd()]),
      'STREAM_INVALID',
    ],
    [
      'with data outside of the image',
      messages([...header(), ...dataAt(99_999, 'xx'), diff.encodeEnd()]),
      'STREAM_INVALID',
    ],
    ['of another size', messages([...header(sizeBytes * 2), diff.encodeEnd()]), 'STREAM_INVALID'],
    ['of something else', messages([Buffer.from('GET / HTTP/1.1')]), 'STREAM_INVALID'],
    ['that goes on behind its end', messages([...good, Buffer.from('x')]), 'STREAM_INVALID'],
    ['that does not say what it is', messages(good).slice(1), 'PROTOCOL_MISMATCH'],
    ['of nothing at all', [], 'PROTOCOL_MISMATCH'],
  ])('%s', async (_, parts, code) => {
    const { status, stdout, stderr } = await restored(parts);
    expect(stderr).toMatch(new RegExp(`^rbdferry: ${code}: `));
    expect(status).not.toBe(0);
    expect(stdout).toBe('');
    expect(readdirSync(dir)).toEqual([]);
  });
});
