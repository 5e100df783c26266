// Generates the code of proto/ into a folder of its own and compares it with what is committed.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const out = mkdtempSync(join(tmpdir(), 'rbdferry-gen-'));

const filesUnder = (folder) =>
  new Map(
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .map((path) => [path.slice(folder.length + 1), readFileSync(path, 'utf8')]),
  );

try {
  const buf = join(root, 'node_modules/.bin/buf');
  const { status, stderr } = spawnSync(buf, ['generate', '--output', out], { cwd: root, encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
  const fresh = filesUnder(join(out, 'packages/core/src/gen'));
  const committed = filesUnder(join(root, 'packages/core/src/gen'));
  const names = new Set([...fresh.keys(), ...committed.keys()]);
  const stale = [...names].filter((name) => fresh.get(name) !== committed.get(name));
  if (stale.length > 0) {
    console.log(`stale generated code, run \`npm run generate\` and commit it: ${stale.join(', ')}`);
    process.exitCode = 1;
  }
} finally {
  rmSync(out, { recursive: true });
}
