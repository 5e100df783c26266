import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { randomBytes } from '../ceph/image-content.js';
import { expectError } from '../harness/expect-error.js';
import { startHouse, type House } from './house.js';
import { chainOf, snapOf } from './site.js';

/** Holds and `prune`, through the whole product. */

const day = 86_400_000;
let house: House;
let images = 0;

beforeAll(async () => {
  house = await startHouse({
    stores: ['rbd2', 'kept'],
    receiver: {
      stores: {
        rbd2: { pool: 'rbd2' },
        kept: { pool: 'kept', keep: { last: 1, daily: 2 }, min_age: '36h', time_zone: 'Europe/Berlin' },
      },
    },
  });
});

afterAll(() => house?.stop());

beforeEach(() => {
  house.clock.aheadMs = 0;
});

/** A backup a day, of an image of its own. */
const backUpDays = async (count: number, ...args: string[]): Promise<{ image: string; ids: string[] }> => {
  const image = `rbd/img${(images += 1)}`;
  await house.source.create(image);
  const ids: string[] = [];
  for (let each = 0; each < count; each += 1) {
    if (each > 0) house.clock.aheadMs += day;
    house.source.write(image, each * 8192, randomBytes(`${image} ${each}`, 8192));
    ids.push(await house.ok('backup', image, ...args));
  }
  return { image, ids };
};

const listed = async (image: string, ...args: string[]) => {
  const chains = JSON.parse(await house.ok('list', image, '--json', ...args)) as {
    backups: {
      id: string;
      shortId: string;
      hold: { until: string | null; reason: string | null; client: string } | null;
    }[];
  }[];
  return chains.flatMap(({ backups }) => backups);
};
const idsListed = async (image: string, ...args: string[]) => (await listed(image, ...args)).map(({ id }) => id);

describe('hold and release', () => {
  it('a held backup is shown, and refused by every deletion; released it goes', async () => {
    const { image, ids } = await backUpDays(3);
    const [first = '', second = '', third = ''] = ids;
    const until = '2031-01-01T00:00:00.000Z';
    const held = await house.cli('hold', second, '--until', '2031-01-01', '--reason', 'the audit');
    expect(held).toMatchObject({ exitCode: 0, stdout: '' });
    expect(held.stderr).toBe(`${second} is held until 2031-01-01T00:00:00Z ("the audit")`);
    expect((await listed(image)).map(({ hold }) => hold)).toEqual([
      null,
      { until, reason: 'the audit', since: expect.any(String) as string, client: 'agent1' },
      null,
    ]);
    for (const verb of ['list', 'dump']) {
      expect(await house.ok(verb, image)).toContain('held until 2031-01-01T00:00:00Z ("the audit")');
    }
    const text = 'stays: it is held until 2031-01-01T00:00:00Z ("the audit")';
    expectError(await house.cli('delete', second), 'BACKUP_HELD', 48, text);
    expectError(await house.cli('delete', second, '--dry-run'), 'BACKUP_HELD', 48, text);
    const old = await house.oldTool('-o', 'delete', '-p', 'rbd', '-i', image.slice(4), '-r', 'rbd2', '-s', second);
    expect(old).toMatchObject({ exitCode: 48 });
    expect(await idsListed(image)).toEqual(ids);

    const dry = await house.cli('delete', '--chain', chainOf(second), '--dry-run');
    expect(dry).toMatchObject({ exitCode: 48, stdout: `${first}\n${third}` });
    const rule = await house.cli('delete', image, '--keep-last', '1');
    expect(rule).toMatchObject({ exitCode: 0, stdout: first });
    expect(rule.stderr).toContain(`${second} stays: held until`);
    expect(await house.cli('delete', '--chain', chainOf(second))).toMatchObject({ exitCode: 48, stdout: third });
    expect(await idsListed(image)).toEqual([second]);

    const released = await house.cli('release', second);
    expect(released).toMatchObject({ exitCode: 0, stdout: '' });
    expect(released.stderr).toContain(`${second} is released; it was held until`);
    expect((await house.cli('release', second)).stderr).toBe(`${second} was not held`);
    const shortId = (await listed(image))[0]?.shortId ?? '';
    expect((await house.cli('hold', shortId)).stderr).toBe(`${second} is held`);
    expect((await house.cli('release', shortId)).stderr).toBe(`${second} is released; it was held`);
    expect(await house.ok('delete', second)).toBe(second);
  });

  it('a hold that ends is nobody’s any more', async () => {
    const { image, ids } = await backUpDays(2);
    const until = new Date(Date.now() + house.clock.aheadMs + day).toISOString();
    const json = JSON.parse(await house.ok('hold', ids[0] ?? '', '--until', until.slice(0, 19), '--json')) as object;
    expect(json).toMatchObject({ id: ids[0], hold: { reason: null, client: 'agent1' }, before: null });
    house.clock.aheadMs += 2 * day;
    expect((await listed(image)).map(({ hold }) => hold)).toEqual([null, null]);
    expect(await house.ok('delete', ids[0] ?? '')).toBe(ids[0]);
  });

  it('says what cannot be', async () => {
    const { ids } = await backUpDays(1);
    const [id = ''] = ids;
    expectError(await house.cli('hold', id, '--until', '2001-01-01'), 'INVALID_REQUEST', 12, '2001-01-01T00:00:00Z');
    expectError(await house.cli('hold', id, '--until', '9999-06-01'), 'INVALID_REQUEST', 12, '9999-06-01');
    expectError(await house.cli('hold', id, '--reason', 'x'.repeat(1001)), 'INVALID_REQUEST', 12, '1001 bytes');
    expectError(await house.cli('hold', id.replace(/@\d{4}/, '@2001')), 'BACKUP_NOT_FOUND', 24, '@2001');
    expectError(await house.cli('hold', 'rbd/vm1'), 'INVALID_BACKUP_ID', 11, 'rbd/vm1');
    expect((await house.cli('hold', id, '--until', 'tomorrow')).exitCode).toBe(2);
  });
});

interface Explained {
  dryRun: boolean;
  policy: { from: string; text: string };
  decisions: {
    id: string;
    image: string;
    goes: boolean;
    text: string;
    reasons: { kind: string; bucket: string | null }[];
  }[];
  deleted: string[];
}

describe('prune', () => {
  it('explains each decision, as text and as JSON, and then does what it said', async () => {
    const { image, ids } = await backUpDays(4);
    const args = [image, '--keep-daily', '2', '--time-zone', 'Asia/Tokyo'];
    const dry = await house.cli('prune', ...args, '--dry-run');
    const lines = dry.stdout.split('\n');
    expect(dry.exitCode).toBe(0);
    expect(lines).toEqual([
      `${ids[0]}  goes: no rule keeps it`,
      `${ids[1]}  goes: no rule keeps it`,
      expect.stringMatching(/^\S+ {2}kept: daily \d{4}-\d\d-\d\d$/) as string,
      expect.stringMatching(/^\S+ {2}kept: newest, the next increment builds on it, daily \d{4}-\d\d-\d\d$/) as string,
    ]);
    expect(dry.stderr.split('\n')).toEqual([
      'rules daily 2; time zone Asia/Tokyo',
      '2 would go, 2 would stay',
      'nothing was deleted: this was a dry run',
    ]);
    const json = JSON.parse(await house.ok('prune', ...args, '--dry-run', '--json')) as Explained;
    expect(json).toMatchObject({ dryRun: true, policy: { from: 'request' }, deleted: ids.slice(0, 2) });
    expect(json.decisions.map(({ id, text }) => `${id}  ${text}`)).toEqual(lines);
    expect(json.decisions[2]).toMatchObject({ image, goes: false, reasons: [{ kind: 'daily' }] });
    expect(await idsListed(image)).toEqual(ids);

    const real = await house.cli('prune', ...args);
    expect(real.stdout.split('\n')).toEqual([...lines, `deleted ${ids[0]}`, `deleted ${ids[1]}`]);
    expect(real.stderr).toContain('2 went, 2 stay');
    expect(await idsListed(image)).toEqual(ids.slice(2));
    for (const id of ids.slice(2)) {
      await house.ok('restore', id, '--to', 'rbd/check');
      expect(house.source.sha256('rbd/check')).toBe(house.backup.sha256(id));
      await house.source.remove('rbd/check');
    }
    const again = await house.cli('prune', ...args);
    expect(again).toMatchObject({ exitCode: 0, stdout: lines.slice(2).join('\n') });
    expect(again.stderr).toContain('nothing to delete');
  });

  it('takes neither what is held nor what the next increment builds on', async () => {
    const { image, ids } = await backUpDays(4);
    // The newest backup's snapshot is gone, and somebody's earlier one is still there.
    await house.ok('delete', '--source-snapshots', image);
    const base = await house.ok('restore', ids[1] ?? '', '--to', image, '--replace').then(() => ids[1]);
    await house.ok('hold', ids[0] ?? '');
    const { decisions } = JSON.parse(await house.ok('prune', image, '--keep-last', '1', '--json')) as Explained;
    expect(decisions.map(({ id, text }) => [id, text])).toEqual([
      [ids[0], 'kept: held'],
      [base, 'kept: the next increment builds on it'],
      [ids[2], 'goes: no rule keeps it'],
      [ids[3], 'kept: newest, one of the last 1'],
    ]);
    const next = await house.ok('backup', image, '--mode', 'incr');
    expect(chainOf(next)).toBe(chainOf(ids[1] ?? ''));
  });

  it('keeps everything of an image whose source cannot be asked', async () => {
    const { image, ids } = await backUpDays(3);
    house.source.cluster.trouble.unreachable = true;
    try {
      const { stdout } = await house.cli('prune', image, '--keep-last', '1');
      for (const id of ids) expect(stdout).toContain(`${id}  kept: `);
    } finally {
      house.source.cluster.trouble.unreachable = false;
    }
    expect(await idsListed(image)).toEqual(ids);
  });

  it('uses the rules of the store when none are given, and its min_age in any case', async () => {
    const { image, ids } = await backUpDays(4, '--store', 'kept');
    const dry = JSON.parse(await house.ok('prune', image, '--store', 'kept', '--dry-run', '--json')) as Explained;
    expect(dry.policy).toMatchObject({
      from: 'store',
      text: 'last 1, daily 2; min_age 36h; time zone Europe/Berlin',
      keep: { last: 1, daily: 2, weekly: 0 },
      timeZone: 'Europe/Berlin',
    });
    expect(dry.deleted).toEqual(ids.slice(0, 2));
    const call = JSON.parse(
      await house.ok('prune', image, '--store', 'kept', '--keep-last', '1', '--dry-run', '--json'),
    ) as Explained;
    expect(call.policy).toMatchObject({ from: 'request', text: 'last 1; min_age 36h; time zone Europe/Berlin' });
    expect(call.decisions[2]?.text).toBe('kept: younger than the min_age of 36h');
    const rule = await house.cli('delete', image, '--store', 'kept', '--keep-last', '1');
    expect(rule).toMatchObject({ exitCode: 0, stdout: ids.slice(0, 2).join('\n') });
    expect(rule.stderr).toContain(`${ids[2]} stays: younger than the min_age of 36h`);
    expect(await idsListed(image, '--store', 'kept')).toEqual(ids.slice(2));
  });

  it('refuses what would keep nothing, and a zone that nobody knows, before anything is changed', async () => {
    const { image, ids } = await backUpDays(2);
    const refused = (...args: string[]) => house.cli('prune', image, ...args);
    expectError(await refused(), 'INVALID_REQUEST', 12, 'store "rbd2" has none');
    expectError(await refused('--keep-last', '0', '--keep-daily', '0'), 'INVALID_REQUEST', 12, 'keeps nothing');
    expectError(await refused('--min-age', '1d'), 'INVALID_REQUEST', 12, 'store "rbd2" has none');
    expect(await refused('--keep-daily', '1', '--time-zone', 'Mars/Olympus')).toMatchObject({ exitCode: 2 });
    expect(await house.cli('prune')).toMatchObject({ exitCode: 2 });
    expect(await house.cli('prune', '--all-images', image)).toMatchObject({ exitCode: 2 });
    expectError(await house.cli('prune', 'rbd/none', '--keep-last', '1'), 'IMAGE_NOT_FOUND', 20, 'rbd/none');
    expect(await idsListed(image)).toEqual(ids);
    expect(await house.source.snapNames(image)).toEqual([snapOf(ids[1] ?? '')]);
  });
});
