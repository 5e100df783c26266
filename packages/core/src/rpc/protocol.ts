import { FerryError } from '../errors/ferry-error.js';

/** Versions of the wire protocol that this release speaks. */
export const protocolVersions = { min: 2, max: 2 } as const;

/** The capability of sending and reading CompressedData. */
export const zstdCapability = 'zstd';

/** Name and version of this release, for the peer's logs. */
export const software = 'rbdferry/0.1.0';

/** The newest version both sides speak. @throws PROTOCOL_MISMATCH */
export const agreeOnProtocol = (peer: {
  readonly protocolMin: number;
  readonly protocolMax: number;
  readonly software: string;
}): number => {
  const version = Math.min(peer.protocolMax, protocolVersions.max);
  if (version >= Math.max(peer.protocolMin, protocolVersions.min)) return version;
  throw new FerryError(
    'PROTOCOL_MISMATCH',
    `${software} speaks protocol ${protocolVersions.min} to ${protocolVersions.max}, ` +
      `the peer ${JSON.stringify(peer.software)} ${peer.protocolMin} to ${peer.protocolMax}`,
  );
};
