import { randomBytes } from 'node:crypto';

/** What an entity may do, by daemon type: `{ mon: "profile rbd" }`. */
export type Caps = Readonly<Partial<Record<'mon' | 'osd' | 'mgr' | 'mds', string>>>;

export interface KeyringEntry {
  /** With its type: `client.admin`, `osd.0`. */
  readonly entity: string;
  readonly key: string;
  readonly caps: Caps;
}

/** A fresh CephX key in base64, as `ceph-authtool --gen-key` makes it, without its 50 ms. */
export function newKey(now: Date = new Date()): string {
  const secret = randomBytes(16);
  const header = Buffer.alloc(12); // le16 type (1: AES), le32 seconds, le32 nanoseconds, le16 length
  header.writeUInt16LE(1, 0);
  header.writeUInt32LE(Math.floor(now.getTime() / 1000), 2);
  header.writeUInt16LE(secret.length, 10);
  return Buffer.concat([header, secret]).toString('base64');
}

/** A keyring file with the given entries. */
export function renderKeyring(entries: readonly KeyringEntry[]): string {
  return entries.map(renderEntry).join('\n');
}

/** The rights of an rbd client on exactly these pools. */
export function rbdCaps(pools: readonly string[], { manager }: { manager: boolean }): Caps {
  return {
    mon: 'profile rbd',
    ...(pools.length > 0 && { osd: pools.map((pool) => `profile rbd pool=${pool}`).join(', ') }),
    ...(manager && { mgr: 'profile rbd' }),
  };
}

/** Caps as `ceph auth` takes them on its command line. */
export function capsArgs(caps: Caps): string[] {
  return Object.entries(caps).flatMap(([daemon, rights]) => [daemon, rights]);
}

function renderEntry({ entity, key, caps }: KeyringEntry): string {
  const lines = Object.entries(caps).map(([daemon, rights]) => `\tcaps ${daemon} = "${rights}"`);
  return [`[${entity}]`, `\tkey = ${key}`, ...lines, ''].join('\n');
}
