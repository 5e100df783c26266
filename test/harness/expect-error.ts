import { expect } from 'vitest';
import type { CliResult } from './daemon.js';

/**
 * The command, or a daemon that did not start, failed with this code of the registry: its words and a hint on stderr, its exit status, nothing on stdout.
 * errors/registry.test.ts looks for these calls (code, then exit status): a code that no test provokes is found.
 */
export const expectError = (result: CliResult, code: string, exit: number, words: string): void => {
  expect(result.stdout).toBe('');
  expect(result.stderr).toMatch(new RegExp(`^(rbdferry: )?${code}: `, 'm'));
  expect(result.stderr).toContain(words);
  expect(result.stderr).toMatch(/hint: \S/);
  expect(result.exitCode).toBe(exit);
};
