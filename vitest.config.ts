import { defineConfig } from 'vitest/config';

const onCeph = {
  testTimeout: 180_000,
  hookTimeout: 180_000,
  globalSetup: ['test/harness/global-setup.ts'],
};
const faults = ['test/faults/**/*.test.ts'];
const harness = ['test/ceph/**/*.test.ts'];
const inMemory = [
  'test/fake-ceph/**/*.test.ts',
  'test/contract/fake-*.test.ts',
  'test/recipes/**/*.test.ts',
  'test/house/**/*.test.ts',
];
const elsewhere = ['**/node_modules/**', '**/dist/**'];

/**
 * Unit tests run side by side; then tests on real clusters, two files at once, which keeps two cores busy; then what stops, kills
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
          testTimeout: 20_000,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          ...onCeph,
          name: 'ceph',
          include: ['test/**/*.test.ts'],
          exclude: [...elsewhere, ...faults, ...harness, ...inMemory],
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
