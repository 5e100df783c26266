import { createCipheriv, type CipherGCM } from 'node:crypto';

/** Size of a digest. */
export const streamDigestBytes = 16;

const key = Buffer.alloc(16);
const iv = Buffer.alloc(12);

/**
 * The digest of a diff stream: its GMAC, the tag of AES-128-GCM (NIST SP 800-38D) with the stream as additional data and nothing to
 * encrypt, under a key and an IV of zeros. It finds every accident, with 128 bits; not an enemy, who knows the key: he is TLS's matter.
 *
 * Not SHA-256, for both ends look at every byte, and that was a quarter of their CPU: 0.69 s/GiB against 0.2, and 3.1 against 0.2 on a
 * processor without SHA instructions, as most Xeons before Ice Lake are. GCM's are those that TLS needs anyway.
 */
export class StreamDigest {
  readonly #gmac: CipherGCM = createCipheriv('aes-128-gcm', key, iv);

  update(chunk: Uint8Array): void {
    this.#gmac.setAAD(chunk);
  }

  /** To be called once, at the end. */
  digest(): Buffer {
    this.#gmac.final();
    return this.#gmac.getAuthTag();
  }
}
