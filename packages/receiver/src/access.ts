import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { Peer } from '@rbdferry/core/rpc/handlers.js';
import { ClientStore } from './client-store.js';
import type { ReceiverConfig } from './config.js';
import type { Store } from './store/port.js';

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

  /** A store as this client sees it. @throws STORE_NOT_FOUND, ACCESS_DENIED */
  open(client: string, name: string): ClientStore {
    const store = this.#stores.get(name);
    if (store === undefined)
      throw new FerryError('STORE_NOT_FOUND', `the receiver has no store ${JSON.stringify(name)}`);
    if (!this.storesOf(client).includes(name)) {
      throw new FerryError(
        'ACCESS_DENIED',
        `client ${JSON.stringify(client)} may not use store ${JSON.stringify(name)}`,
      );
    }
    return new ClientStore(store, client, { isAlone: this.#isAlone(client, name) });
  }

  /** Whether no other client may use the store. */
  #isAlone(client: string, store: string): boolean {
    return Object.entries(this.#clients()).every(([name, { stores }]) => name === client || !stores.includes(store));
  }

  #find(name: string): Client | undefined {
    const clients = this.#clients();
    return Object.hasOwn(clients, name) ? clients[name] : undefined;
  }
}

type Client = ReceiverConfig['clients'][string];

const isAccepted = ({ certificates }: Client, fingerprint: string | null): boolean =>
  certificates === undefined || (fingerprint !== null && certificates.includes(fingerprint));
