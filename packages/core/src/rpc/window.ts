/** Flow-control windows: what a peer may have on the way to us, for each stream and for each connection, in bytes. */

const MiB = 1024 * 1024;

/**
 * The window for peers that are near. It bounds the rate at window / round trip: 16 MiB gives 1.25 GB/s at 13 ms, which is more than
 * one connection's TLS does, and 320 MB/s at 50 ms.
 */
export const defaultWindowBytes = 16 * MiB;

/** No window that follows the round trip becomes wider: what is on the way may be all in memory, when nobody takes it. */
export const widestWindowBytes = 64 * MiB;

/** The rate that a window which follows the round trip allows, in bytes per millisecond. */
const followedBytesPerMs = 1.25e6;

/** A size that holds for every connection, or `auto`: the default, widened with the round trip. */
export type WindowSetting = number | 'auto';

/** The window before anything is known of the round trip. */
export const initialWindowBytes = (setting: WindowSetting): number =>
  setting === 'auto' ? defaultWindowBytes : setting;

const windowFor = (roundTripMs: number): number =>
  Math.min(widestWindowBytes, Math.max(defaultWindowBytes, Math.ceil(roundTripMs * followedBytesPerMs)));

export interface WindowGrant {
  readonly windowBytes: number;
  /** Lets others have what was granted beyond the default. */
  readonly giveBack: () => void;
}

/**
 * Bounds what a process grants beyond the default window, over all connections: whoever comes first gets a window as wide as its
 * round trip asks for, and two far peers that stall hold 96 MiB together, not 128.
 */
export class WindowBudget {
  #leftBytes: number;

  constructor(extraBytes = widestWindowBytes) {
    this.#leftBytes = extraBytes;
  }

  grant(roundTripMs: number): WindowGrant {
    const extra = Math.min(this.#leftBytes, windowFor(roundTripMs) - defaultWindowBytes);
    this.#leftBytes -= extra;
    let given = extra;
    return {
      windowBytes: defaultWindowBytes + extra,
      giveBack: () => {
        this.#leftBytes += given;
        given = 0;
      },
    };
  }
}
