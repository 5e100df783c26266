import { expect, it } from 'vitest';
import { connectionSettings, mirrorIn, proxyEnv } from './apt.js';
import { parseOptions } from './options.js';
import { countOutcome } from './run-tests.js';
import { renderTable } from './table.js';

const mirrors = `http://debian.example.com/debian-security/ Debian Debian-Security
http://packages.example.com/ceph/ Ceph Ceph
http://debian.example.com/debian/ Debian Debian
http://other.example.com/debian/ Debian Debian`;

it("takes Debian's mirror from apt, and not that of the security updates", () => {
  expect(mirrorIn(mirrors)).toBe('http://debian.example.com/debian/');
  expect(mirrorIn('http://ubuntu.example.com/ubuntu/ Ubuntu Ubuntu')).toBeUndefined();
  expect(mirrorIn('')).toBeUndefined();
});

const dump = `APT::Architecture "amd64";
APT::Update::Post-Invoke:: "rm -f /var/cache/apt/*.bin || true";
Acquire::http "";
Acquire::http::Proxy "http://proxy.example.com:3128";
Acquire::https::Proxy "DIRECT";
Acquire::https::CaInfo "/etc/ssl/own.pem";
Acquire::Check-Date "false";
Acquire::Languages:: "none";
`;

it('takes from apt how to reach a mirror, and nothing that it runs', () => {
  const settings = connectionSettings(dump);
  expect(settings.split('\n')).toEqual([
    'Acquire::http "";',
    'Acquire::http::Proxy "http://proxy.example.com:3128";',
    'Acquire::https::Proxy "DIRECT";',
    'Acquire::https::CaInfo "/etc/ssl/own.pem";',
    'Acquire::Check-Date "false";',
    '',
  ]);
  expect(proxyEnv(settings)).toEqual({ http_proxy: 'http://proxy.example.com:3128', https_proxy: '' });
  expect(proxyEnv('')).toEqual({});
});

it('reads its command line', () => {
  expect(parseOptions([], { XDG_CACHE_HOME: '/c' })).toEqual({
    suites: ['trixie', 'sid'],
    only: ['test/contract/', 'test/e2e/', 'test/faults/'],
    keep: false,
    mirror: undefined,
    cacheDir: '/c/rbdferry-releases',
    vitestArgs: [],
  });
  expect(parseOptions(['--only', 'contract', '--release=sid', '--keep', '--', '-t', '--help'])).toMatchObject({
    suites: ['sid'],
    only: ['contract'],
    keep: true,
    vitestArgs: ['-t', '--help'],
  });
  expect(parseOptions(['--help'])).toBe('help');
  expect(() => parseOptions(['--release', 'potato'])).toThrow('there is no release "potato"\nhint: one of trixie, sid');
  expect(() => parseOptions(['contract'])).toThrow(/'contract'[^]*hint: usage: /);
});

it('counts as failed what vitest failed for, also when no test stands for it', () => {
  const outcome = { files: 3, passed: 1, failures: ['a > b: no', 'c: it cannot be loaded'] };
  expect(countOutcome(outcome, false)).toEqual({ files: 3, passed: 1, failed: 2 });
  expect(countOutcome({ ...outcome, failures: [] }, true)).toEqual({ files: 3, passed: 1, failed: 0 });
  expect(countOutcome({ ...outcome, failures: [] }, false)).toEqual({ files: 3, passed: 1, failed: 1 });
  expect(() => countOutcome(undefined, false)).toThrow(/without a report/);
});

it('prints a table', () => {
  const rows = [
    { release: 'trixie', ceph: '18.2.7', files: 4, passed: 120, failed: 0, seconds: 1234.5 },
    { release: 'sid', ceph: '20.2.4', files: 4, passed: 9, failed: 11, seconds: 60 },
  ];
  expect(renderTable(rows).split('\n')).toEqual([
    'RELEASE  CEPH    FILES  PASSED  FAILED  SECONDS',
    'trixie   18.2.7      4     120       0     1235',
    'sid      20.2.4      4       9      11       60',
  ]);
});
