import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { Chain } from '@rbdferry/core/model/chain.js';
import type { Peer } from '@rbdferry/core/rpc/handlers.js';
import type { ReceiverConfig } from './config.js';
import type { Store, UnreadableChain } from './store/port.js';

/** Who may do what, by the common name of the client's certificate. Asked at each call, so a change holds for open connections. */
export class Access {
  readonly #clients: () => ReceiverConfig['clients'];
  readonly #stores: ReadonlyMap<string, Store>;

  /** @param clients those of the configuration that holds now */
  constructor(clients: () => ReceiverConfig['clients'], stores: ReadonlyMap<string, Store>) {
    this.#clients = clients;
    this.#stores = stores;
  }

  /** Why nobody with this certificate is let in; null for a client. */
  refusal({ commonName, fingerprint }: Peer): 'unknown_client' | 'fingerprint' | null {
    const client = commonName === null ? undefined : this.#find(commonName);
    if (client === undefined) return 'unknown_client';
    return isAccepted(client, fingerprint) ? null : 'fingerprint';
  }

  /** The client's name. @throws ACCESS_DENIED for a certificate that the configuration does not know, or does not take for this client's */
  client(peer: Peer): string {
    const { commonName, fingerprint } = peer;
    const refusal = this.refusal(peer);
    if (commonName !== null && refusal === null) return commonName;
    if (refusal === 'fingerprint') {
      throw new FerryError(
        'ACCESS_DENIED',
        `the receiver does not take certificate ${JSON.stringify(fingerprint ?? '')} for client ${JSON.stringify(commonName ?? '')}`,
        {
          hint: `add its fingerprint to clients.${commonName ?? ''}.certificates in the receiver's configuration if the key is to be trusted`,
        },
      );
    }
    throw new FerryError('ACCESS_DENIED', `the receiver has no client ${JSON.stringify(commonName ?? '')}`, {
      hint: "add the common name of the certificate under clients in the receiver's configuration",
    });
  }

  /** Names of the stores the client may use. */
  storesOf(client: string): string[] {
    return this.#find(client)?.stores ?? [];
  }

  /** Whether no other client may use the store. */
  isAlone(client: string, store: string): boolean {
    return Object.entries(this.#clients).every(([name, { stores }]) => name === client || !stores.includes(store));
  }

  /** @throws STORE_NOT_FOUND, ACCESS_DENIED */
  store(client: string, name: string): Store {
    const store = this.#stores.get(name);
    if (store === undefined)
      throw new FerryError('STORE_NOT_FOUND', `the receiver has no store ${JSON.stringify(name)}`);
    if (!this.storesOf(client).includes(name)) {
      throw new FerryError(
        'ACCESS_DENIED',
        `client ${JSON.stringify(client)} may not use store ${JSON.stringify(name)}`,
      );
    }
    return store;
  }

  #find(name: string): Client | undefined {
    const clients = this.#clients();
    return Object.hasOwn(clients, name) ? clients[name] : undefined;
  }
}

type Client = ReceiverConfig['clients'][string];

const isAccepted = ({ certificates }: Client, fingerprint: string | null): boolean =>
  certificates === undefined || (fingerprint !== null && certificates.includes(fingerprint));

/** A client sees its own backups, and those of the older tool, which say nothing of their client. */
export const isVisible = (client: string, owner: string | null): boolean => owner === null || owner === client;

/** The chain with only what the client may see; null when that is nothing. */
export const visibleChain = (client: string, chain: Chain): Chain | null => {
  const backups = chain.backups.filter((backup) => isVisible(client, backup.client));
  return backups.length === 0 ? null : { ...chain, backups };
};

/**
 * Chains that could not be read while a client was answered. Whose they are cannot be read either: in a store that the client shares
 * with others it hears only that there are such chains.
 */
export class UnreadableChains {
  readonly #found: UnreadableChain[] = [];
  readonly #store: string;
  readonly #isAlone: boolean;

  constructor(access: Access, client: string, store: string) {
    this.#store = store;
    this.#isAlone = access.isAlone(client, store);
  }

  readonly add = (chain: UnreadableChain): void => {
    this.#found.push(chain);
  };

  told(): { store: string; name: string; error: FerryError }[] {
    return this.#found.map(({ name, error }) => {
      const store = this.#store;
      if (this.#isAlone) return { store, name, error };
      return { store, name: '', error: new FerryError(error.code, 'a chain of the store cannot be read') };
    });
  }
}
