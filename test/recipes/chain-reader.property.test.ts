import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { chainNameOf, snapNameOf, type SnapName, type Timestamp } from '@rbdferry/core/model/backup-id.js';
import { ChainReader } from '@rbdferry/receiver/store/rbd-store/chain-reader.js';
import type { ChainView } from '@rbdferry/receiver/store/rbd-store/chain-view.js';
import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { fakeCeph } from '../fake-ceph/fake-ceph.js';
import { FakeCluster } from '../fake-ceph/fake-cluster.js';
import { intercept } from '../fake-ceph/intercept.js';
import { storePool } from './store.js';

/** What is remembered of a chain is what a look would find, whatever was changed, and however the change ended. */

const at = (minute: number) => `2026-11-27.10:0${minute}:00.000000` as Timestamp;
const chain = chainNameOf('vm', at(0));
const image = { ...storePool, image: chain };
const snapshots = [1, 2, 3].map((minute) => snapNameOf(at(minute)));
const layout = {
  sizeBytes: 65_536n,
  objectSizeBytes: 16_384,
  stripeUnitBytes: 16_384,
  stripeCount: 1,
  features: [],
  dataPool: null,
};

type Answer = 'comes' | 'is lost' | 'is a refusal';

interface Change {
  readonly kind: 'set' | 'unset' | 'snapshot' | 'unsnapshot' | 'look';
  readonly snap: SnapName;
}

/** Changes at the same time, while somebody looks. */
interface Round {
  readonly changes: readonly Change[];
  readonly answer: Answer;
  readonly isWatched: boolean;
  /** How late what a look asks for is answered, and the changes begin, in turns of the loop. */
  readonly lateBy: number;
  readonly beginsAfter: number;
  /** How long a change takes to have its effect, and then to be answered. */
  readonly takes: number;
}

const change: fc.Arbitrary<Change> = fc.record({
  kind: fc.constantFrom('set', 'unset', 'snapshot', 'unsnapshot', 'look'),
  snap: fc.constantFrom(...snapshots),
});
const round: fc.Arbitrary<Round> = fc.record({
  changes: fc.array(change, { minLength: 1, maxLength: 2 }),
  answer: fc.constantFrom('comes', 'comes', 'is lost', 'is a refusal'),
  isWatched: fc.boolean(),
  lateBy: fc.nat(12),
  beginsAfter: fc.nat(40),
  takes: fc.nat(20),
});

const turns = async (count: number): Promise<void> => {
  for (let turn = 0; turn < count; turn += 1) await Promise.resolve();
};

const newWorld = async () => {
  const cluster = new FakeCluster(storePool.pool);
  await fakeCeph(cluster).create(image, layout);
  let answer: Answer = 'comes';
  let [lateBy, takes, calls] = [0, 0, 0];
  const ceph = intercept(fakeCeph(cluster), {
    async around({ name }, run) {
      if (!/^(set|remove)/.test(name)) {
        const found = await run();
        await turns(lateBy);
        return found;
      }
      // One of two may overtake the other.
      const slow = takes * ((calls += 1) % 3);
      await turns(slow);
      if (answer === 'is a refusal') throw new FerryError('CEPH_FAILED', 'refused');
      const done = await run();
      await turns(slow);
      if (answer === 'comes') return done;
      throw new FerryError('CEPH_TIMEOUT', 'no answer');
    },
  });
  const readerOn = (port: typeof ceph) => new ChainReader({ ceph: port, store: 'main', pool: storePool });
  const reader = readerOn(ceph);
  const apply = async ({ kind, snap }: Change): Promise<unknown> => {
    const key = `rbdferry.usage.${snap}`;
    switch (kind) {
      case 'set':
        return reader.setMetadata(chain, key, 'text');
      case 'unset':
        return reader.removeMetadata(chain, key);
      case 'unsnapshot':
        return reader.removeSnapshot(chain, snap);
      case 'look':
        return reader.many('vm', {});
      case 'snapshot':
        reader.forgetSnapshots(chain);
        await turns(takes);
        if (!(await fakeCeph(cluster).snapshots(image)).some(({ name }) => name === snap))
          cluster.addSnapshot(image, snap);
        // Nobody else changes a chain that is held.
        return reader.saw(chain, await fakeCeph(cluster).snapshots(image));
    }
  };
  return {
    reader,
    look: () => readerOn(fakeCeph(cluster)).fresh(chain, {}),
    async go(through: Round): Promise<void> {
      ({ answer, lateBy, takes } = through);
      const look = through.isWatched ? reader.many('vm', {}) : null;
      await turns(through.beginsAfter);
      await Promise.all(through.changes.map((each) => apply(each).catch(() => {})));
      await look;
      [answer, lateBy, takes] = ['comes', 0, 0];
    },
  };
};

const contentOf = ({ metadata, snapshots: found }: ChainView) => ({ metadata: new Map(metadata), found });

it('is right or nothing after every change', async () => {
  let known = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(round, { minLength: 1, maxLength: 12 }), async (rounds) => {
      const world = await newWorld();
      for (const each of rounds) {
        await world.go(each);
        const view = world.reader.known(chain);
        if (view === null) continue;
        known += 1;
        expect(contentOf(view)).toEqual(contentOf(await world.look()));
      }
    }),
    { numRuns: 300 },
  );
  expect(known).toBeGreaterThan(100);
});
