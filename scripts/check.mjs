// Everything about the code that can be said without running it. Each step names itself and what it found.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const bin = (name) => `node_modules/.bin/${name}`;

const steps = [
  ['wire contract lint', [bin('buf'), 'lint']],
  ['generated code is current', ['node', 'scripts/check-generated.mjs']],
  ['types', [bin('tsc'), '-b']],
  ['import directions', ['node', 'scripts/check-imports.mjs']],
  ['lint (with types: unawaited promises)', [bin('oxlint'), '--type-aware', '--deny-warnings']],
  ['format', [bin('prettier'), '--check', '--log-level', 'warn', '.']],
  ['dead code', [bin('knip')]],
];

let failed = 0;
for (const [name, [command, ...args]] of steps) {
  const started = performance.now();
  const { status, stdout, stderr } = spawnSync(command, args, { cwd: root, encoding: 'utf8', maxBuffer: 1 << 26 });
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(`${status === 0 ? 'ok  ' : 'FAIL'} ${name} (${seconds} s)`);
  if (status === 0) continue;
  failed += 1;
  console.log(`${stdout}${stderr}`);
}
console.log(`${steps.length - failed} checks passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
