import { randomUUID } from 'node:crypto';
import type { ConsumerRecord, ConsumerState, FeedClaimant, RecordedCollection } from '@lockstep/core';
import { expectEqual, expectThat } from '../kit/expect.js';
import { Consumer, feedOf } from './consumer.js';
import type { StoreCase, StoreClaims, StoreContext } from './context.js';

/** A consumer of a name that no other case uses. */
function consumerOf(c: StoreContext) {
  const name = `kit-${randomUUID()}`;
  const { source } = c.store;
  const { registry } = feedOf(c);
  const collection = (id: string): RecordedCollection => ({
    name: id,
    source,
    keyPrefix: `${name}:${id}:`,
    holeTtlMs: 1_000,
    holeOnEmpty: false,
  });
  const only = (records: readonly ConsumerRecord[]): ConsumerRecord => {
    expectEqual(records.length, 1, 'the number of records of one source');
    return records[0] as ConsumerRecord;
  };
  return {
    name,
    register: async (...ids: string[]) => only(await registry.register(name, ids.map(collection))),
    read: async () => only(await registry.read(name, [source])),
    observe: async (identity: string) => only(await registry.observe(name, [source], identity)),
    /** Takes changes on this consumer's behalf. */
    claims(state: () => ConsumerState | undefined, differs: () => void = () => {}): FeedClaimant {
      return {
        consumer: name,
        state: (of) => (of === source ? state() : undefined),
        differs: async () => differs(),
      };
    },
  };
}

const names = ({ collections }: ConsumerRecord): string[] => collections.map(({ name }) => name).sort();

/** The registry of consumers: who is kept in step, and under which generation of its cache. */
export function registryCases(test: StoreCase, { requires }: StoreClaims): void {
  if (!requires('changeFeed') || !requires('consumers')) return;

  test('registry: a collection is recorded once, and the revision grows with each change only', async (c) => {
    const consumer = consumerOf(c);
    const first = await consumer.register('a');
    expectEqual([first.revision, first.epoch, names(first)], [1, 0, ['a']], 'the first record');
    const again = await consumer.register('a');
    expectEqual([again.revision, names(again)], [1, ['a']], 'the same again');
    const both = await consumer.register('b', 'c');
    expectEqual([both.revision, names(both)], [2, ['a', 'b', 'c']], 'others beside it');
    expectThat(both.changedAgoMs >= 0 && both.changedAgoMs < 60_000, `changedAgoMs: ${both.changedAgoMs}`);
    const read = await consumer.read();
    expectEqual([read.revision, names(read)], [2, ['a', 'b', 'c']], 'what is read');
    const unknown = await feedOf(c).registry.read(`${consumer.name}-other`, [c.store.source]);
    expectEqual(unknown.length, 0, 'the records of another consumer');
  });

  test('registry: everyone who is recorded for a source is told, until it is forgotten', async (c) => {
    const [one, two] = [consumerOf(c), consumerOf(c)];
    const { registry } = feedOf(c);
    const told = async (): Promise<unknown> => {
      const all = await registry.consumers([c.store.source]);
      const ours = all.filter(({ consumer }) => consumer === one.name || consumer === two.name);
      return ours
        .map(({ collections, consumer, source }) => [consumer, source, [...collections].sort()])
        .sort();
    };
    const records = [
      [one.name, c.store.source, ['a', 'b']],
      [two.name, c.store.source, ['c']],
    ].sort();
    await one.register('a', 'b');
    await two.register('c');
    expectEqual(await told(), records, 'the recorded consumers');
    expectEqual(await registry.consumers([`${c.store.source}-other`]), [], 'those of another source');
    await registry.forget(one.name, [c.store.source]);
    expectEqual(
      await told(),
      [[two.name, c.store.source, ['c']]],
      'the consumers, without the forgotten one',
    );
    expectEqual(await registry.read(one.name, [c.store.source]), [], 'the record of the forgotten one');
    const again = await one.register('a');
    expectEqual([again.revision, again.epoch, names(again)], [1, 0, ['a']], 'its record, made anew');
  });

  test('registry: a consumer that ended is told as one, until it registers or is observed again', async (c) => {
    const consumer = consumerOf(c);
    const { registry } = feedOf(c);
    const ended = async (): Promise<unknown> => {
      const all = await registry.consumers([c.store.source]);
      return all.find((each) => each.consumer === consumer.name)?.ended;
    };
    await consumer.register('a');
    const before = await ended();
    await registry.end(consumer.name, [c.store.source]);
    const after = await ended();
    const again = await consumer.register('a');
    expectEqual(
      [before, after, await ended()],
      [false, true, false],
      'before, after its end, registered again',
    );
    expectEqual([again.revision, names(again)], [1, ['a']], 'its record, which stays');
  });

  test('registry: a cache is switched off for every process, and on again; another one is not', async (c) => {
    const [one, two] = [consumerOf(c), consumerOf(c)];
    const { registry } = feedOf(c);
    const first = await one.register('a');
    await two.register('a');
    expectEqual(first.switchedOff, false, 'switched off, at first');
    expectEqual(
      await registry.switch(one.name, true),
      [c.store.source],
      'the sources that were switched off',
    );
    const seen = [await one.read(), await one.register('b'), await one.observe('x'), await two.read()];
    expectEqual(
      seen.map(({ switchedOff }) => switchedOff),
      [true, true, true, false],
      'what is read, registered, observed, and read of another',
    );
    expectEqual(await registry.switch(one.name, true), [c.store.source], 'the sources, once more');
    expectEqual(
      await registry.switch(one.name, false),
      [c.store.source],
      'the sources that were switched on',
    );
    expectEqual((await one.read()).switchedOff, false, 'switched off, after that');
    expectEqual(await registry.switch(`${one.name}-other`, true), [], 'the sources of one without a record');
  });

  test('registry: registered at once, all are recorded', async (c) => {
    const consumer = consumerOf(c);
    await Promise.all(['a', 'b', 'c', 'd'].map((id) => consumer.register(id)));
    const { collections, revision } = await consumer.read();
    expectEqual([collections.length, revision], [4, 4], 'collections and revision');
  });

  test('registry: a new identity of the cache begins an epoch; one that was left does not come back', async (c) => {
    const consumer = consumerOf(c);
    await consumer.register('a');
    const first = await consumer.observe('one');
    expectEqual([first.epoch, first.identity, first.replayed], [1, 'one', false], 'the first epoch');
    expectEqual((await consumer.observe('one')).epoch, 1, 'the same identity again');
    const second = await consumer.observe('two');
    expectEqual([second.epoch, second.identity, second.left], [2, 'two', ['one']], 'the next identity');
    const back = await consumer.observe('one');
    expectEqual([back.epoch, back.identity], [2, 'two'], 'the identity that was left');
  });

  test('registry: one of many replays an epoch, and says when it is done', async (c) => {
    const consumer = consumerOf(c);
    const { registry } = feedOf(c);
    const { source } = c.store;
    await consumer.register('a');
    const { epoch } = await consumer.observe('one');
    const epochs = new Map([[source, epoch]]);
    const lease = (holder: string, of = epochs) => registry.lease(consumer.name, of, holder, 60_000);
    expectEqual(await lease('x'), [source], 'the first holder');
    expectEqual(await lease('y'), [], 'the second');
    expectEqual(await lease('x'), [source], 'the first, once more');
    await registry.release(consumer.name, 'x');
    expectEqual(await lease('y'), [source], 'the second, after the first has given it back');
    await registry.replayed(consumer.name, new Map([[source, epoch + 1]]), 'y');
    expectEqual((await consumer.read()).replayed, false, 'replayed, said of another epoch');
    await registry.replayed(consumer.name, epochs, 'x');
    expectEqual((await consumer.read()).replayed, false, 'replayed, said by one that holds it no more');
    await registry.replayed(consumer.name, epochs, 'y');
    expectEqual((await consumer.read()).replayed, true, 'replayed');
    expectEqual(await lease('z'), [], 'a holder after that');
    await consumer.observe('two');
    expectEqual((await consumer.read()).replayed, false, 'replayed, of the next epoch');
    expectEqual(await lease('z'), [], 'a holder of the epoch that was left');
  });

  test('registry: an acknowledgement under a state that is over removes nothing (G2, G4)', async (c) => {
    const { source } = c.store;
    for (const change of ['revision', 'epoch'] as const) {
      const consumer = consumerOf(c);
      await consumer.register('a');
      const state = await consumer.observe('one');
      const row = c.newRow();
      const version = await row.putVersion(1);
      if (change === 'revision') await consumer.register('b');
      else await consumer.observe('two');
      feedOf(c).acknowledge([{ source, key: row.key, version }], state);
      const now = await consumer.read();
      const reader = new Consumer(c, undefined, { claimant: consumer.claims(() => now) });
      await reader.took(row, version, `the change acknowledged under another ${change}`);
      await reader.stop();
    }
  });

  test('registry: a claim whose registry changed meanwhile comes again (G2, G4)', async (c) => {
    for (const change of ['revision', 'epoch'] as const) {
      const consumer = consumerOf(c);
      await consumer.register('a');
      let state: ConsumerState = await consumer.observe('one');
      let [told, times] = [0, 0];
      const row = c.newRow();
      const claimant = consumer.claims(
        () => state,
        () => {
          told += 1;
        },
      );
      const handle = async (changes: readonly { readonly key: string }[]): Promise<void> => {
        if (!changes.some(({ key }) => key === row.key) || ++times > 1) return;
        if (change === 'revision') await consumer.register('b');
        else await consumer.observe('two');
      };
      const reader = new Consumer(c, handle, { claimant });
      await row.putVersion(1);
      await c.eventually(`the claimant is told that the ${change} differs`, () => told > 0);
      state = await consumer.read();
      await c.eventually('the change comes again', () => times > 1);
      await reader.stop();
    }
  });

  test('registry: each of two consumers gets a change, whoever acknowledges it (G4)', async (c) => {
    const { source } = c.store;
    const [one, two] = [consumerOf(c), consumerOf(c)];
    const states = [await one.register('a'), await two.register('a')] as const;
    const [row, acknowledged] = [c.newRow(), c.newRow()];
    const version = await acknowledged.putVersion(1);
    feedOf(c).acknowledge([{ source, key: acknowledged.key, version }], states[0]);
    const first = new Consumer(c, undefined, { claimant: one.claims(() => states[0]) });
    const made = await row.putVersion(1);
    await first.took(row, made, 'a change, to the first');
    await first.stop();
    const second = new Consumer(c, undefined, { claimant: two.claims(() => states[1]) });
    await second.took(row, made, 'the same change, to the second');
    await second.took(acknowledged, version, 'what the first acknowledged, to the second');
    await second.stop();
  });

  test('registry: where nothing may be claimed nothing is', async (c) => {
    const consumer = consumerOf(c);
    const record = await consumer.register('a');
    let state: ConsumerState | undefined;
    const row = c.newRow();
    const reader = new Consumer(c, undefined, { claimant: consumer.claims(() => state) });
    const version = await row.putVersion(1);
    expectEqual(reader.newest(row), undefined, 'what was claimed');
    state = record;
    await reader.took(row, version, 'the change, once it may be claimed');
    await reader.stop();
  });

  test('registry: a position tells of all that was not dealt with, and a source without one is reset', async (c) => {
    const consumer = consumerOf(c);
    const { source } = c.store;
    await consumer.register('a');
    const waiting = c.newRow();
    const old = await waiting.putVersion(1);
    const state = await consumer.observe('one');
    const { position } = state;
    expectThat(position !== undefined, 'the position must be known');
    const reader = new Consumer(c, undefined, { claimant: consumer.claims(() => state) });
    const [row, gone] = [c.newRow(), c.newRow()];
    const version = await row.putVersion(1);
    await gone.putVersion(1);
    const deleted = await gone.deleteVersion();
    await reader.took(row, version, 'the change');
    await reader.took(gone, deleted, 'the delete');
    await reader.stop();
    const replayed = new Map<string, number>();
    const resets: string[] = [];
    const signal = AbortSignal.timeout(c.deadlineMs);
    const replay = (since: ReadonlyMap<string, readonly string[]>): Promise<void> =>
      feedOf(c).replay(
        since,
        async (changes) => {
          for (const { key, version: at } of changes) replayed.set(key, Math.max(at, replayed.get(key) ?? 0));
        },
        { sources: [source], signal, onReset: async (of) => void resets.push(of) },
      );
    await replay(new Map([[source, [position]]]));
    expectEqual(replayed.get(waiting.key), old, 'the change that waited');
    expectEqual(replayed.get(row.key), version, 'the change that was taken since');
    expectEqual(replayed.get(gone.key), deleted, 'the delete that was taken since');
    expectEqual(resets, [], 'sources that were reset');
    await replay(new Map());
    expectEqual(resets, [source], 'sources that were reset, without a position');
  });
}
