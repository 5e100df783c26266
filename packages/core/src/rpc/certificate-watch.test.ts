import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { initCa } from '../../../cli/src/pki/authority.js';
import { issueCertificate } from '../../../cli/src/pki/issue-certificate.js';
import { createLogger } from '../log/logger.js';
import { certificateEnds } from './certificate-ends.js';
import { CertificateWatch } from './certificate-watch.js';
import type { TlsFiles } from './tls.js';

const dayMs = 86_400_000;
let dir: string;
let issuedAtMs: number;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'rbdferry-ends-'));
  issuedAtMs = Math.floor(Date.now() / 1000) * 1000;
  const now = () => new Date(issuedAtMs);
  for (const [pki, days] of [
    ['old', 100],
    ['new', 1000],
  ] as const) {
    await initCa({ dir: join(dir, pki), days, now });
    await issueCertificate({ dir: join(dir, pki), name: 'agent1', days: 90, now });
  }
  const [first, second] = await Promise.all(['new', 'old'].map((pki) => readFile(join(dir, pki, 'ca.crt'))));
  await writeFile(join(dir, 'both.crt'), Buffer.concat([first ?? Buffer.alloc(0), second ?? Buffer.alloc(0)]));
});

afterAll(async () => {
  await rm(dir, { recursive: true, force: true });
});

const filesOf = (pki: string, ca = join(dir, pki, 'ca.crt')): TlsFiles => ({
  ca,
  cert: join(dir, pki, 'agent1.crt'),
  key: join(dir, pki, 'agent1.key'),
});

const daysOf = async (files: TlsFiles) =>
  (await certificateEnds(files)).map(({ certificate, endsAtMs }) => [certificate, (endsAtMs - issuedAtMs) / dayMs]);

describe('the ends of certificates', () => {
  it('are those of the own one and of the CA', async () => {
    expect(await daysOf(filesOf('old'))).toEqual([
      ['own', 90],
      ['ca', 100],
    ]);
  });

  it('are of two CAs in a file that of the one which made the own certificate, or else the later one', async () => {
    expect(await daysOf(filesOf('old', join(dir, 'both.crt')))).toContainEqual(['ca', 100]);
    expect(await daysOf(filesOf('new', join(dir, 'both.crt')))).toContainEqual(['ca', 1000]);
    await initCa({ dir: join(dir, 'other'), days: 50 });
    await issueCertificate({ dir: join(dir, 'other'), name: 'agent1', days: 40 });
    expect(await daysOf(filesOf('other', join(dir, 'both.crt')))).toContainEqual(['ca', 1000]);
  });

  it('are an error of files that hold none', async () => {
    await writeFile(join(dir, 'nonsense'), 'x');
    await expect(certificateEnds(filesOf('old', join(dir, 'nonsense')))).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
    });
    await expect(certificateEnds(filesOf('old', join(dir, 'none')))).rejects.toMatchObject({ code: 'CONFIG_MISSING' });
  });
});

describe('a certificate watch', () => {
  const watching = () => {
    const log = createLogger('test', 'silent');
    const warn = vi.spyOn(log, 'warn');
    let days = 0;
    const watch = new CertificateWatch({ log, now: () => issuedAtMs + days * dayMs });
    const onEnds = vi.fn();
    const at = (day: number) => {
      days = day;
      return watch.check('certificate', filesOf('old'), onEnds);
    };
    const told = () => warn.mock.calls.splice(0).map(([fields]) => fields);
    return { watch, at, told, onEnds };
  };

  it('warns within 30 days, once a day, and again when somebody changed something', async () => {
    const { watch, at, told, onEnds } = watching();
    await at(59);
    expect(told()).toEqual([]);
    await at(61);
    const ends = new Date(issuedAtMs + 90 * dayMs).toISOString();
    const own = {
      what: 'certificate',
      certificate: filesOf('old').cert,
      ends,
      hint: expect.stringMatching(/--replace/),
    };
    expect(told()).toEqual([{ ...own, daysLeft: 29 }]);
    await at(61.9);
    expect(told()).toEqual([]);
    await at(62);
    expect(told()).toEqual([{ ...own, daysLeft: 28 }]);
    watch.sayAgain();
    await at(62.1);
    expect(told()).toHaveLength(1);
    await at(75);
    expect(told()).toMatchObject([{ daysLeft: 15 }, { certificate: filesOf('old').ca, daysLeft: 25 }]);
    expect(onEnds).toHaveBeenLastCalledWith(await certificateEnds(filesOf('old')));
  });

  it('fails when one has ended, and still tells the ends', async () => {
    const { at, onEnds } = watching();
    await expect(at(90)).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('agent1.crt'),
    });
    expect(onEnds).toHaveBeenCalledOnce();
  });
});
