import { execa } from 'execa';

export interface ConfinedOptions {
  /** Ends the command and everything that it started, at once. */
  readonly signal: AbortSignal;
  readonly env?: Readonly<Record<string, string>>;
  /** Where its output goes; default: to ours. */
  readonly output?: 'inherit' | 'pipe';
}

/** A file or folder of this machine that a command in a root folder sees at another place. */
export interface Bind {
  readonly from: string;
  /** Absolute, as seen from inside; it is made when it is missing. */
  readonly to: string;
  readonly readOnly?: boolean;
}

/** How a command ended, and with `output: 'pipe'` what it printed. */
export interface Ended {
  readonly failed: boolean;
  readonly stdout: string;
  /** Standard output and error as they came. */
  readonly printed: string;
}

/**
 * Runs a command with mounts and process ids of its own. Both end with it, whatever ends it: Ctrl-C, a failure, or a kill of this
 * process. So nothing has to be unmounted, and nobody else's process can be hit.
 */
export async function runConfined(argv: readonly string[], options: ConfinedOptions): Promise<Ended> {
  const own = ['--mount', '--propagation', 'private', '--pid', '--fork', '--kill-child', '--mount-proc'];
  const output = options.output ?? 'inherit';
  const result = await execa('setpriv', ['--pdeathsig', 'KILL', 'unshare', ...own, ...argv], {
    env: options.env ?? {},
    stdin: 'ignore',
    stdout: output,
    stderr: output,
    all: true,
    // In a session of its own, Ctrl-C in a terminal reaches only us.
    detached: true,
    cleanup: false,
    cancelSignal: options.signal,
    killSignal: 'SIGKILL',
    reject: false,
  });
  return { failed: result.failed, stdout: textOf(result.stdout), printed: textOf(result.all) };
}

/** Runs a command inside of a root folder, in its `/`. */
export async function runInRoot(
  root: string,
  argv: readonly string[],
  { binds = [], cwd = '/', ...options }: ConfinedOptions & { readonly binds?: readonly Bind[]; readonly cwd?: string },
): Promise<Ended> {
  const script = [
    'root=$1 cwd=$2; shift 2',
    'mount -t proc proc "$root/proc"',
    'mount --rbind /dev "$root/dev"',
    'while [ "$1" != -- ]; do',
    '  [ -e "$root$2" ] || if [ -d "$1" ]; then mkdir -p "$root$2"; else touch "$root$2"; fi',
    '  mount --bind "$1" "$root$2"',
    '  [ "$3" = rw ] || mount -o remount,bind,ro "$root$2"',
    '  shift 3',
    'done; shift',
    'chroot "$root" bash -c \'cd "$1"; shift; exec "$@"\' bash "$cwd" "$@"',
    // Not the last command, which bash would become: as the first process of its kind bash collects those whose parent died.
    'exit $?',
  ];
  const mounts = binds.flatMap(({ from, to, readOnly }) => [from, to, readOnly ? 'ro' : 'rw']);
  return runConfined(['bash', '-euc', script.join('\n'), 'bash', root, cwd, ...mounts, '--', ...argv], options);
}

function textOf(output: unknown): string {
  return typeof output === 'string' ? output : '';
}
