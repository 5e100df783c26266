import { execa } from 'execa';
import { SetupError } from './setup-error.js';

/** What of this machine's apt a root folder needs, so that it finds its packages where this machine finds its own. */
export interface MachineApt {
  readonly mirror: string;
  /** Lines for a file in apt.conf.d: proxies, certificates, checks of dates. */
  readonly conf: string;
  /** What programs other than apt need to go through apt's proxies. */
  readonly env: Readonly<Record<string, string>>;
}

/** Reads it. @throws SetupError when this machine has no mirror of Debian, and none was given */
export async function readMachineApt(given: string | undefined): Promise<MachineApt> {
  const { stdout } = await execa('apt-config', ['dump']);
  const conf = connectionSettings(stdout);
  return { mirror: given ?? (await findMirror()), conf, env: proxyEnv(conf) };
}

async function findMirror(): Promise<string> {
  const format = '$(REPO_URI) $(ORIGIN) $(LABEL)';
  const targets = async () => (await execa('apt-get', ['indextargets', '--format', format])).stdout;
  const known = mirrorIn(await targets());
  if (known !== undefined) return known;
  // Before the first update apt does not know whose packages they are.
  await execa('apt-get', ['-q', 'update'], { stdin: 'ignore', reject: false });
  const mirror = mirrorIn(await targets());
  if (mirror !== undefined) return mirror;
  throw new SetupError('the apt of this machine has no mirror of Debian', 'name one with --mirror URL');
}

/** The first address that says of itself that it is Debian's archive, not only its security updates. */
export function mirrorIn(targets: string): string | undefined {
  const line = targets.split('\n').find((target) => target.endsWith(' Debian Debian'));
  return line?.split(' ')[0];
}

/** Of what `apt-config dump` prints, what tells how to reach a mirror. */
export function connectionSettings(dump: string): string {
  const wanted = /^Acquire::(https?|Retries|ForceIPv[46]|Check-Date|Check-Valid-Until)\b.*;$/;
  return dump
    .split('\n')
    .filter((line) => wanted.test(line))
    .map((line) => `${line}\n`)
    .join('');
}

/** The same proxies for programs that look into their environment. */
export function proxyEnv(conf: string): Record<string, string> {
  const proxies = conf.matchAll(/^Acquire::(https?)::Proxy "(.+)";$/gm);
  return Object.fromEntries(
    [...proxies].map(([, scheme, url]) => [`${scheme}_proxy`, url === 'DIRECT' ? '' : `${url}`]),
  );
}
