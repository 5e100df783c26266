import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';

/** Compiles one of this folder's C programs into `dir` and answers the program's path. @throws without gcc */
export const compile = async (name: 'delay-relay' | 'delay-link', dir: string): Promise<string> => {
  const program = join(dir, name);
  if (existsSync(program)) return program;
  // From bench/dist/links.
  const source = fileURLToPath(new URL(`../../links/${name}.c`, import.meta.url));
  await execa('gcc', ['-O2', '-Wall', '-o', program, source], { timeout: 60_000 });
  return program;
};
