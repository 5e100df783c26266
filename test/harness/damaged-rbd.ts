import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';

/** An `rbd` that is the real one but for what a test says. Give {@link env} to a daemon. */
export interface DamagedRbd {
  readonly env: { readonly PATH: string };
  /**
   * From now on, runs the shell script instead when all of `words` are among the arguments. `real` in it is the real
   * program with the same arguments.
   */
  instead(words: readonly string[], script: string): Promise<void>;
  /** Is the real one again. */
  heal(): Promise<void>;
}

/** Makes the program in this directory. */
export const damagedRbd = async (dir: string): Promise<DamagedRbd> => {
  const path = (await execa('sh', ['-c', 'command -v rbd'])).stdout.trim();
  const damage = join(dir, 'damage');
  await writeFile(
    join(dir, 'rbd'),
    `#!/bin/bash\nreal() { '${path}' "\${args[@]}"; }\nargs=("$@")\n[ -e '${damage}' ] && . '${damage}'\nexec '${path}' "$@"\n`,
    { mode: 0o755 },
  );
  return {
    env: { PATH: `${dir}:${process.env['PATH'] ?? ''}` },
    async instead(words, script) {
      const tests = words.map((word) => `[[ " $* " == *'${word}'* ]]`).join(' && ');
      await writeFile(damage, `if ${tests}; then\n${script}\nexit\nfi\n`);
    },
    heal: () => rm(damage, { force: true }),
  };
};
