// The import directions of ARCHITECTURE.md. Each rule says why, because that is what somebody who breaks it needs to know.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

/** `from` and `to` are matched against paths like packages/core/src/diff/x.ts, or the bare name of a package. */
const rules = [
  {
    from: /^packages\/(agent|receiver|cli)\//,
    to: (from) => new RegExp(`^packages/(?!core/|${from.split('/')[1]}/)|^@rbdferry/(?!core/)`),
    why: 'agent, receiver and cli are deployed apart and meet only over the wire; what two of them need belongs in core',
  },
  {
    from: /^packages\/core\//,
    to: /^packages\/(?!core\/)|^@rbdferry\//,
    why: 'core is what the deployables stand on; it cannot stand on them',
  },
  {
    from: /^packages\/core\/src\/model\//,
    to: /^(?!packages\/core\/src\/model\/)/,
    why: 'the model is pure, so that plans and states can be tested by tables; it imports nothing but itself',
  },
  {
    from: /^packages\/core\/src\/diff\//,
    to: /^(?!packages\/core\/src\/diff\/)/,
    why: 'the diff stream is pure, so that it can be tested by properties and run anywhere; it imports nothing but itself',
  },
  {
    from: /^packages\/core\/src\/ceph\//,
    to: /^@grpc\/|^packages\/core\/src\/(rpc|gen|wire)\//,
    why: 'ceph never sees gRPC: the door to Ceph must not know who is asking',
  },
  {
    from: /^packages\/(?!core\/src\/ceph\/librbd\/native\.ts)/,
    to: /^koffi$/,
    why: 'a wrong pointer ends the process that has it: only the helper calls C, by the declarations in native.ts',
  },
  {
    from: /^packages\/(?!core\/src\/ceph\/librbd\/)|^packages\/core\/src\/ceph\/librbd\/(looks|helper-process|librbd-[a-z]+)\.ts$/,
    to: /^(packages\/core\/src|@rbdferry\/core)\/ceph\/librbd\/(native|native-failure|connection|encoding|header|iterate-diff|read-image|verbs|helper)\.[jt]s$/,
    why: 'what the helper is made of stays in the helper; the daemons speak its protocol',
  },
  {
    from: /^packages\/core\/src\/rpc\//,
    to: /^packages\/core\/src\/(ceph|diff)\//,
    why: 'rpc never sees Ceph: it carries messages',
  },
  {
    from: /^packages\/agent\/src\/jobs\//,
    to: /^packages\/agent\/src\/(backup|restore|delete|service)\/|^packages\/agent\/src\/(daemon|job-kinds)\.ts$/,
    why: 'jobs/ queues, runs and recovers whatever kinds there are: it knows none of them; job-kinds.ts is the table',
  },
  {
    from: /^packages\/agent\/src\/(backup|restore|delete)\//,
    to: /^packages\/agent\/src\/service\//,
    why: 'a recipe does not know who asks for it',
  },
  {
    from: /^packages\/receiver\/src\/(store|transfer)\//,
    to: /^packages\/receiver\/src\/(service\/|daemon\.ts|access\.ts|client-store\.ts)/,
    why: 'a store and a transfer do not know who asks: access and service stand before them',
  },
  {
    from: /^packages\/receiver\/src\/store\//,
    to: /^packages\/receiver\/src\/transfer\//,
    why: 'a store is written to and read from; it does not know by what',
  },
  {
    from: /^packages\/receiver\/src\/(?!store\/[a-z]+-store\/|store\/kinds\.ts)/,
    to: /^packages\/receiver\/src\/store\/[a-z]+-store\//,
    why: 'the receiver speaks to stores through their port, and the guard to drivers through theirs; only kinds.ts knows which kinds there are',
  },
  {
    from: /^packages\/receiver\/src\/store\/[a-z]+-store\//,
    to: (from) => new RegExp(`^packages/receiver/src/store/(?!${from.split('/')[4]}/|(driver|port|is-away)\\.ts$)`),
    why: 'a driver knows its place and itself: what every store promises is kept by the guard, and no kind leans on another',
  },
  {
    from: /^packages\/cli\/src\/(render|view)\//,
    to: /^packages\/cli\/src\/(commands\/|program\.ts|client\.ts|agent\.ts|rbd-backup\/)/,
    why: 'what is shown does not ask: views and their texts stand on values',
  },
  {
    from: /^packages\/(?!core\/src\/ceph\/|cli\/src\/to-file\/qemu-img\.ts$)/,
    to: /^execa$|^(node:)?child_process$/,
    why: 'only core/ceph starts processes: there they get their deadlines, their environment and their end (the command line has qemu-img, as its user)',
  },
  {
    from: /^packages\/(?!core\/src\/(rpc|wire|gen)\/|[a-z]+\/src\/(service|receiver-client|transfer)\/|agent\/src\/[a-z]+\/wire\.ts|cli\/)/,
    to: /\/src\/gen\/|^@rbdferry\/core\/gen\//,
    why: 'generated types stop at the service and client files, and at the wire.ts of a kind of job: the rest speaks the model',
  },
];

const importPattern =
  /(?:^|\n)\s*(?:import|export)\s[^'"]*?from\s+['"]([^'"]+)['"]|import\(\s*['"]([^'"]+)['"]\s*\)|(?:^|\n)\s*import\s+['"]([^'"]+)['"]/g;

const sourceFiles = readdirSync(join(root, 'packages'), { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && entry.name.endsWith('.ts') && !entry.name.endsWith('.test.ts'))
  .map((entry) => relative(root, join(entry.parentPath, entry.name)))
  .filter((path) => /^packages\/[a-z]+\/src\//.test(path) && !path.includes('/gen/'));

/** A relative import as a path in the repository, any other by its name. */
const targetOf = (file, specifier) =>
  specifier.startsWith('.')
    ? relative(root, resolve(root, dirname(file), specifier)).replace(/\.js$/, '.ts')
    : specifier.replace(/^@rbdferry\/core\//, '@rbdferry/core/');

const broken = sourceFiles.flatMap((file) => {
  const text = readFileSync(join(root, file), 'utf8');
  return [...text.matchAll(importPattern)].flatMap((match) => {
    const target = targetOf(file, match[1] ?? match[2] ?? match[3]);
    return rules
      .filter(({ from, to }) => from.test(file) && (typeof to === 'function' ? to(file) : to).test(target))
      .map(({ why }) => `${file} imports ${target}\n    ${why}`);
  });
});

for (const line of broken) console.log(line);
console.log(`${sourceFiles.length} files, ${broken.length} imports in a forbidden direction`);
process.exitCode = broken.length === 0 ? 0 : 1;
