import { type MockInstance, vi } from 'vitest';
import type { ChangeFeed } from '../../src/contracts/feed.js';
import type { ConsumerRecord, ConsumerRegistry, ConsumerState } from '../../src/contracts/registry.js';
import { Consumer } from '../../src/feed/consumer.js';
import { Membership } from '../../src/feed/membership.js';
import type { RegistryWorldOptions } from './registry-world.js';

/** A feed, a registry or the engine with one rule taken out, and the world in which that must show. */
export interface RegistryMutant {
  readonly name: string;
  readonly world: Omit<RegistryWorldOptions, 'seed' | 'adapt'>;
  readonly adapt?: (feed: ChangeFeed) => ChangeFeed;
  /** Changes the engine itself, until it is restored. */
  readonly change?: () => Pick<MockInstance, 'mockRestore'>;
}

/** Claims and acknowledgements that say of themselves whatever would be believed now, in some respect. */
function pretending(respect: 'revision' | 'epoch', change: Partial<Record<'claim' | 'acknowledge', true>>) {
  return (feed: ChangeFeed): ChangeFeed => {
    let newest: ConsumerRecord | undefined;
    const pretend = (state: ConsumerState | undefined): ConsumerState | undefined =>
      state && newest && { ...state, [respect]: newest[respect] };
    return {
      ...feed,
      async consume(handler, options) {
        const { claimant } = options;
        if (claimant === undefined || change.claim !== true) return await feed.consume(handler, options);
        let claimed: ConsumerState | undefined;
        const dishonest = {
          consumer: claimant.consumer,
          differs: () => claimant.differs(),
          // The memory feed keeps the object until the claim ends.
          state: (source: string) => {
            const state = claimant.state(source);
            claimed = state && { ...state };
            return claimed;
          },
        };
        await feed.consume(
          async (changes) => {
            await handler(changes);
            [newest] = await feed.registry.read(claimant.consumer, options.sources);
            const now = pretend(claimed);
            if (claimed !== undefined && now !== undefined) Object.assign(claimed, now);
          },
          { ...options, claimant: dishonest },
        );
      },
      acknowledge(changes, under) {
        if (under === undefined || change.acknowledge !== true) return feed.acknowledge(changes, under);
        void feed.registry.read(under.consumer, [under.source]).then(([record]) => {
          newest = record;
          feed.acknowledge(changes, pretend(under));
        });
      },
    };
  };
}

export const isFirst = ({ epoch }: ConsumerRecord): boolean => epoch === 1;

/** Says of epochs that they were replayed. */
export async function skipReplay(
  registry: ConsumerRegistry,
  records: readonly ConsumerRecord[],
): Promise<void> {
  for (const { consumer, epoch, replayed, source } of records) {
    if (replayed) continue;
    const epochs = new Map([[source, epoch]]);
    await registry.lease(consumer, epochs, 'mutant', 1_000);
    await registry.replayed(consumer, epochs, 'mutant');
  }
}

export const REGISTRY_MUTANTS: readonly RegistryMutant[] = [
  {
    name: 'an acknowledgement forgets the other collections of the table',
    world: {},
    change: () => vi.spyOn(Membership.prototype, 'invalidateOthers').mockReturnValue(Promise.resolve(true)),
  },
  {
    name: 'a relay deals with the collections of its own process alone',
    world: {},
    change() {
      const { collections } = Consumer.prototype;
      return vi.spyOn(Consumer.prototype, 'collections').mockImplementation(function (
        this: Consumer,
        source,
      ) {
        return collections.call(this, source).filter(({ name }) => name === 'x');
      });
    },
  },
  {
    name: 'a claim does not name the revision',
    world: { deafRelay: true },
    adapt: pretending('revision', { claim: true }),
  },
  {
    name: 'an acknowledgement does not name the generation',
    world: { split: true },
    adapt: pretending('epoch', { acknowledge: true }),
  },
  {
    name: 'a claim does not name the generation',
    world: { split: true },
    adapt: pretending('epoch', { claim: true }),
  },
  {
    name: 'a collection fills before everyone who writes has seen it',
    world: { registryFaults: 0.3 },
    adapt: (feed) => ({
      ...feed,
      registry: {
        ...feed.registry,
        register: async (consumer, collections) =>
          (await feed.registry.register(consumer, collections)).map((record) => ({
            ...record,
            changedAgoMs: Number.POSITIVE_INFINITY,
          })),
      },
    }),
  },
  {
    name: 'a first epoch counts as replayed, whatever the cache holds',
    world: { filled: true },
    adapt: (feed) => ({
      ...feed,
      registry: {
        ...feed.registry,
        async observe(consumer, sources, identity) {
          const records = await feed.registry.observe(consumer, sources, identity);
          await skipReplay(feed.registry, records.filter(isFirst));
          return await feed.registry.read(consumer, sources);
        },
      },
    }),
  },
  {
    name: 'a first epoch begins with the first relay, and counts as replayed',
    world: { split: true, lateRelay: true },
    adapt: (feed) => {
      const { registry } = feed;
      let relays = false;
      return {
        ...feed,
        async consume(handler, options) {
          relays = true;
          await feed.consume(handler, options);
        },
        registry: {
          ...registry,
          async observe(consumer, sources, identity) {
            if (relays) {
              const records = await registry.observe(consumer, sources, identity);
              await skipReplay(registry, records.filter(isFirst));
            }
            return await registry.read(consumer, sources);
          },
        },
      };
    },
  },
  {
    name: 'a replay begins before its epoch is committed',
    world: { split: true },
    adapt: (feed) => {
      const { registry } = feed;
      const replayed = new Set<string>();
      return {
        ...feed,
        registry: {
          ...registry,
          async observe(consumer, sources, identity) {
            const records = await registry.read(consumer, sources);
            const pending = records.filter(
              (record) => record.identity !== identity && !record.left.includes(identity),
            );
            if (pending.length === 0) return await registry.observe(consumer, sources, identity);
            if (!replayed.has(identity)) {
              replayed.add(identity);
              return records.map((record) => ({
                ...record,
                identity,
                epoch: record.epoch + 1,
                replayed: false,
              }));
            }
            // Only now, with what the replay was for.
            const committed = await registry.observe(consumer, sources, identity);
            await skipReplay(registry, committed);
            return await registry.read(consumer, sources);
          },
          lease: async (_, epochs) => [...epochs.keys()],
          replayed: async () => undefined,
        },
      };
    },
  },
];
