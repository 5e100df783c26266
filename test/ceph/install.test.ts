import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { ensureCeph } from './install.js';

const INSTALL = 'apt-get install -y --no-install-recommends ceph-mon ceph-osd ceph-common ceph-mgr';

describe.runIf(process.getuid?.() === 0)('installing Ceph, with a false apt-get', () => {
  let dir: string;
  const lines: string[] = [];
  const ensure = () => ensureCeph({ log: (line) => lines.push(line) });

  beforeEach(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'rbdf-apt-'));
    lines.length = 0;
    vi.stubEnv('PATH', dir);
  });

  afterEach(async () => {
    vi.unstubAllEnvs();
    await rm(dir, { recursive: true });
  });

  async function fakeAptGet(body: string): Promise<void> {
    await writeFile(path.join(dir, 'apt-get'), `#!/bin/sh\ncd ${dir}\n${body}\n`);
    await chmod(path.join(dir, 'apt-get'), 0o755);
  }

  test('tries again once, and then has the programs', async () => {
    await fakeAptGet(`
      [ -e failed ] || { : > failed; exit 100; }
      case "$*" in *install*)
        for p in ceph-mon ceph-osd ceph-mgr ceph rbd; do : > $p; /bin/chmod +x $p; done
      esac`);
    await ensure();
    const steps = lines.filter((line) => line.startsWith('apt-get'));
    expect(steps).toEqual(['apt-get update', 'apt-get update', INSTALL]);

    lines.length = 0;
    await ensure();
    expect(lines).toEqual([]);
  });

  test('says what to install when apt-get fails twice', async () => {
    await fakeAptGet("echo 'E: no network' >&2; exit 100");
    await expect(ensure()).rejects.toThrow(
      /ceph-mon, .*rbd not found[^]*E: no network[^]*hint: as root, run: apt-get update/,
    );
  });

  test('says what to install where there is no apt-get', async () => {
    await expect(ensure()).rejects.toThrow(/there is no apt-get\nhint: as root, run/);
  });
});
