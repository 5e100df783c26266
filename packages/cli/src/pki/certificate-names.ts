import { isIP } from 'node:net';
import { PkiError } from './pki-error.js';

/** What a certificate may stand for: a DNS name or an IP address. */
export interface SubjectHost {
  readonly kind: 'dns' | 'ip';
  readonly value: string;
}

/** For trying out both daemons on one machine. */
const LOCAL_HOSTS: readonly string[] = ['localhost', '127.0.0.1', '::1'];

const FILE_NAME = /^[A-Za-z0-9_][A-Za-z0-9._-]*$/;
const DNS_LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const CONTROL_CHARACTER = /\p{Cc}/u;
/** X.520's upper bound for a common name. */
const MAX_COMMON_NAME_LENGTH = 64;
const MAX_DNS_LENGTH = 253;

/**
 * Refuses a name that is not fit for a file and a common name; `ca` is taken by the authority's own files.
 * @throws PkiError
 */
export function requireCertificateName(name: string): void {
  if (!FILE_NAME.test(name) || name.length > MAX_COMMON_NAME_LENGTH)
    throw new PkiError(`certificate name ${JSON.stringify(name)} is not allowed`, {
      hint: `use at most ${MAX_COMMON_NAME_LENGTH} letters, digits, ".", "_" and "-", and begin with none of "." and "-"`,
    });
  if (name.toLowerCase() === 'ca')
    throw new PkiError(`certificate name ${JSON.stringify(name)} is the authority's own`, {
      hint: 'choose another name, such as the machine the certificate is for',
    });
}

/** @throws PkiError */
export function requireCommonName(commonName: string): void {
  if (commonName.trim() === '' || commonName.length > MAX_COMMON_NAME_LENGTH || CONTROL_CHARACTER.test(commonName))
    throw new PkiError(`common name ${JSON.stringify(commonName)} is not allowed`, {
      hint: `use 1 to ${MAX_COMMON_NAME_LENGTH} printable characters`,
    });
}

/**
 * The hosts a certificate is good for, each once: its name, if that can be a host's, and the given hosts, or
 * this machine's local names when none are given.
 * @throws PkiError for a host that is neither a DNS name nor an IP address
 */
export function subjectHosts(name: string, hosts: readonly string[]): readonly SubjectHost[] {
  const given = hosts.length > 0 ? hosts : LOCAL_HOSTS;
  const named = parseHost(name);
  const all = [...(named === undefined ? [] : [named]), ...given.map(requireHost)];
  return [...new Map(all.map((host) => [host.value, host])).values()];
}

function requireHost(host: string): SubjectHost {
  const parsed = parseHost(host);
  if (parsed === undefined)
    throw new PkiError(`host ${JSON.stringify(host)} is neither a DNS name nor an IP address`, {
      hint: 'give the bare host that clients connect to: no port, no URL, no brackets around IPv6, no wildcard',
    });
  return parsed;
}

function parseHost(host: string): SubjectHost | undefined {
  if (isIP(host) !== 0) return host.includes('%') ? undefined : { kind: 'ip', value: host.toLowerCase() };
  const value = host.toLowerCase();
  return isDnsName(value) ? { kind: 'dns', value } : undefined;
}

/** Whether this is a host name by RFC 1123. A last label of digits alone is a mistyped IPv4 address. */
function isDnsName(value: string): boolean {
  const labels = value.split('.');
  return (
    value.length <= MAX_DNS_LENGTH &&
    labels.every((label) => DNS_LABEL.test(label)) &&
    !/^\d+$/.test(labels.at(-1) ?? '')
  );
}
