import { defineConfig } from 'vitest/config';
import { memoryFolder } from './test/harness/memory-folder.js';

const onCeph = {
  testTimeout: 180_000,
  hookTimeout: 180_000,
  globalSetup: ['test/harness/global-setup.ts'],
};
const faults = ['test/faults/**/*.test.ts'];
const harness = ['test/ceph/**/*.test.ts'];
const nodes = ['test/nodes/**/*.test.ts'];
const inMemory = [
  'test/fake-ceph/**/*.test.ts',
  'test/contract/fake-*.test.ts',
  'test/recipes/**/*.test.ts',
  'test/house/**/*.test.ts',
  'test/releases/**/*.test.ts',
  'test/runner/**/*.test.ts',
  'test/store-contract/fake-*.test.ts',
];
/** They change grpc-js and Node's streams for the whole process or look whether that was done, or put another module in a module's place. */
const alone = [
  'packages/core/src/rpc/**/*.test.ts',
  'packages/agent/src/jobs/follow-stages.test.ts',
  'packages/cli/src/render/json.test.ts',
  'test/house/wire-*.test.ts',
];
const inMemoryFolder = memoryFolder();
const withoutCluster = {
  setupFiles: ['test/harness/poison.ts'],
  globalSetup: ['test/harness/memory-folder.ts'],
  env: inMemoryFolder === undefined ? {} : { TMPDIR: inMemoryFolder },
  testTimeout: 60_000,
  hookTimeout: 60_000,
  maxWorkers: '100%',
  // What is built is loaded as it is: Vitest would transform it once more, for each file.
  server: { deps: { external: [/\/packages\/[a-z]+\/dist\//] } },
  sequence: { groupOrder: 0 },
};
const elsewhere = ['**/node_modules/**', '**/dist/**'];

/**
 * Unit tests run side by side, on every core; then tests on real clusters, two files at once, which keeps two cores busy; then what stops, kills
 * and fills clusters, each file its own, and waits for that a third of the time. The throw-away clusters' own tests are asked for by name:
 * they change when test/ceph does.
 */
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['packages/**/src/**/*.test.ts', 'scripts/**/*.test.ts', ...inMemory],
          exclude: [...elsewhere, ...alone],
          ...withoutCluster,
          // A worker keeps what it has loaded for its next file: starting one for each file cost more than the tests.
          isolate: false,
        },
      },
      { test: { name: 'unit-alone', include: alone, ...withoutCluster } },
      // Runs some of those once more, on other releases of Node.js.
      { test: { ...withoutCluster, name: 'nodes', include: nodes, setupFiles: [], testTimeout: 600_000 } },
      {
        test: {
          ...onCeph,
          name: 'ceph',
          include: ['test/**/*.test.ts'],
          exclude: [...elsewhere, ...faults, ...harness, ...inMemory, ...nodes],
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          ...onCeph,
          name: 'faults',
          include: faults,
          exclude: elsewhere,
          maxWorkers: 2,
          sequence: { groupOrder: 2 },
        },
      },
      {
        test: {
          ...onCeph,
          name: 'harness',
          include: harness,
          exclude: elsewhere,
          maxWorkers: 1,
          sequence: { groupOrder: 3 },
        },
      },
    ],
    reporters: ['default'],
  },
});
