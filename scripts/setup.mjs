// Makes `npm test` and `npm run demo` work right after `git clone`: installs the npm packages when they are missing or
// another lock file's. Needs nothing but Node and npm.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  console.error(`rbdferry needs Node 20.19 or newer, this is ${process.versions.node}`);
  process.exit(1);
}

/** The lock file npm installed from leaves its image in node_modules: what it misses was not installed. */
const isInstalled = () => {
  const installed = `${root}node_modules/.package-lock.json`;
  if (!existsSync(installed)) return false;
  const wanted = JSON.parse(readFileSync(`${root}package-lock.json`, 'utf8')).packages;
  const present = JSON.parse(readFileSync(installed, 'utf8')).packages;
  return Object.entries(wanted).every(
    ([path, { version, optional, link }]) =>
      !path.startsWith('node_modules/') || optional || link || present[path]?.version === version,
  );
};

if (!isInstalled()) {
  console.error('installing npm packages (npm ci --ignore-scripts) ...');
  execFileSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: root, stdio: ['ignore', 2, 2] });
}
