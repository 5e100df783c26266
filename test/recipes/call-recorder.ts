import type { CephPort } from '@rbdferry/core/ceph/port.js';
import { intercept, type PortCall } from '../fake-ceph/intercept.js';

/** Commands that ran side by side: each began before one of those before it had ended. */
export type Beside = readonly string[];

/** Writes down the commands that one side runs. */
export class CallRecorder {
  #groups: string[][] = [];
  #running = 0;

  /** The same port. */
  watch(port: CephPort): CephPort {
    return intercept(port, {
      around: async (call, run) => {
        const name = commandOf(call);
        if (name === null) return run();
        if (this.#running === 0) this.#groups.push([]);
        this.#groups.at(-1)?.push(name);
        this.#running += 1;
        try {
          return await run();
        } finally {
          this.#running -= 1;
        }
      },
    });
  }

  /** What ran since this was called last. */
  take(): Beside[] {
    const taken = this.#groups;
    this.#groups = [];
    return taken.map((group) => group.toSorted());
  }
}

/** Its name, with the kind of the key for image-meta. Null for a step of a stream, whose command has begun before. */
const commandOf = ({ name, text }: PortCall): string | null => {
  if (name.includes('.')) return null;
  const key = /^(?:set|remove)Metadata .* (rbdferry\.[a-z]+)/.exec(text)?.[1];
  return key === undefined ? name : `${name} ${key}`;
};
