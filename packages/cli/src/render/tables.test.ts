import { BackupKind } from '@rbdferry/core/gen/rbdferry/v1/model.js';
import { describe, expect, it } from 'vitest';
import {
  at,
  backupOf,
  cancelled,
  chainOf,
  committed,
  failed,
  jobOf,
  queued,
  running,
  stages,
} from '../../test/fake-agent.js';
import { chainView } from '../view/chain.js';
import { jobView } from '../view/job.js';
import { jobText } from './job.js';
import { table, widthOf } from './table.js';
import { chainTable, jobTable } from './tables.js';

const now = new Date(at + 10_500);

describe('table', () => {
  const columns = [
    { title: 'NAME', cell: ([name]: readonly string[]) => name ?? '' },
    { title: 'SIZE', width: 8, right: true, cell: ([, size]: readonly string[]) => size ?? '' },
    { title: 'STATE', cell: ([, , state]: readonly string[]) => state ?? '' },
  ];

  it('is as wide as what is in it, and needs no lines', () => {
    expect(table(columns, [])).toBe('NAME    SIZE  STATE');
    expect(
      table(columns, [
        ['a', '1 B', ''],
        ['longer name', '12 B', 'done'],
      ]),
    ).toBe(
      `
NAME           SIZE  STATE
a               1 B
longer name    12 B  done`.trimStart(),
    );
  });

  it('shows the whole of a text that is too long for its column', () => {
    expect(table(columns, [['a', '1234567890', 'x']])).toContain('a     1234567890  x');
  });

  it.each([
    ['plain', 5],
    ['äöü', 3],
    ['a\u0308', 1],
    ['日本語', 6],
    ['ｶﾅ', 2],
    ['한국', 4],
    ['🚀', 2],
    ['Ω≈', 2],
  ])('knows that %j takes %i cells', (text, cells) => {
    expect(widthOf(text)).toBe(cells);
  });
});

describe('chainTable', () => {
  const second = 'rbd2/vm1.2026-11-24.10:40:39.458883.bkp.image@2026-11-25.22:40:43.707889.snap';
  const chain = chainView(
    chainOf(backupOf(), backupOf({ id: second, kind: BackupKind.INCREMENTAL, streamBytes: 42n })),
  );

  it('heads the chain and lists its backups', () => {
    expect(chainTable(chain)).toBe(
      `
rbd/vm1  active  rbd2/vm1.2026-11-24.10:40:39.458883.bkp.image
  SNAPSHOT              KIND               SIZE      STREAM  ON SOURCE  SHORT ID  ID
  2026-11-24 22:40:43Z  full              1 GiB     300 MiB  -          89363955  ${chain.backups[0]?.id ?? ''}
  2026-11-25 22:40:43Z  incremental       1 GiB        42 B  yes        ${chain.backups[1]?.shortId ?? ''}  ${second}`.trimStart(),
    );
  });

  it('says what kind of chain it is', () => {
    const odd = chainTable({ ...chain, active: false, legacy: true, partial: true, backups: [] });
    expect(odd).toContain('passive, legacy, partial');
    expect(odd).toContain('no backups');
  });
});

describe('jobs', () => {
  const states = [
    queued,
    running(5n, 10n),
    committed('careful'),
    failed('NO_CHAIN', 'no chain', 'make one'),
    cancelled,
  ];

  it('in a table', () => {
    const text = jobTable(
      states.map((state) => jobView(jobOf(state))),
      now,
    );
    expect(text).toMatch(/^JOB +KIND +CREATED +TOOK +IMAGE +STATE$/m);
    expect(text).toMatch(/^k3v9x2m7qa +backup +2026-11-24 22:40:43Z +- +rbd\/vm1 +queued$/m);
    expect(text).toMatch(/ 10s +rbd\/vm1 +transfer, 50%, 5 B of 10 B, 100 MiB\/s, ETA 0ms$/m);
    expect(text).toMatch(/ 1m 2s +rbd\/vm1 +committed, 1 GiB$/m);
    expect(text).toMatch(/failed: NO_CHAIN$/m);
    expect(text).toMatch(/cancelled$/m);
  });

  it('one by one, with error, hint and warnings', () => {
    const texts = states.map((state) => jobText(jobView(jobOf(state)), now));
    expect(texts[2]).toMatch(/^warning {5}careful$/m);
    expect(texts[2]).toMatch(/^backup kind full$/m);
    expect(texts[3]).toMatch(/^error {7}NO_CHAIN: no chain\nhint {8}make one$/m);
    expect(texts[0]).not.toContain('ended');
    expect(texts[0]).not.toContain('limit');
    const limited = jobOf(queued, { limitBytesPerSecond: 52_428_800n });
    expect(jobText(jobView(limited), now)).toMatch(/^limit {7}50 MiB\/s$/m);
  });

  it('one by one, with the stages of the transfer', () => {
    const text = jobText(jobView(jobOf(running(5n, 10n, { ...stages, source: undefined }))), now);
    expect(text).toMatch(/^wire {8}200 MiB\/s, waited for 1.5s\ntarget {6}33 MiB\/s, waited for 9s, the bottleneck$/m);
    expect(text).not.toMatch(/^source/m);
    expect(jobText(jobView(jobOf(running(5n, 10n, stages))), now)).toMatch(/^source {6}waited for 0ms$/m);
  });

  it('let no control characters through', () => {
    expect(jobTable([jobView(jobOf(queued, { image: 'rbd/\u001b]0;x\u0007' }))], now)).not.toContain('\u001b');
  });
});
