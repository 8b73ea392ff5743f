import { inspect } from 'node:util';
import type { Change } from '@lockstep/core';
import { expectEqual, expectRejection, expectThat } from '../kit/expect.js';
import { bounded } from '../kit/runner.js';
import { Consumer, consuming, feedOf } from './consumer.js';
import { hookOf, type StoreCase, type StoreClaims } from './context.js';

/** The change feed: everything that changed, at least once, whoever changed it. */
export function feedCases(test: StoreCase, { requires, gives }: StoreClaims): void {
  if (!requires('changeFeed')) return;

  test('feed: inserts, updates and deletes are handed over with their versions (G4)', async (c) => {
    await consuming(c, async (consumer) => {
      const row = c.newRow();
      for (const [what, op, write] of [
        ['an insert', 'put', () => row.putVersion(1)],
        ['an update', 'put', () => row.putVersion(2)],
        ['a delete', 'delete', () => row.deleteVersion()],
        ['a re-creation', 'put', () => row.putVersion(3)],
      ] as const) {
        const startedMs = Date.now();
        const version = await write();
        const change = await consumer.took(row, version, what);
        expectEqual([change.source, change.version, change.op], [c.store.source, version, op], what);
        if (c.underTest.advance === undefined) {
          expectThat(
            Math.abs(change.changedAtMs - startedMs) < 60_000,
            `changedAtMs must be in ms since the epoch, got ${change.changedAtMs}`,
          );
        }
      }
    });
  });

  test('feed: changes made while nobody consumes are kept (G4, G9)', async (c) => {
    const rows = Array.from({ length: 5 }, () => c.newRow());
    const versions = await Promise.all(rows.map((row, n) => row.putVersion(n)));
    await consuming(c, async (consumer) => {
      for (const [n, row] of rows.entries()) await consumer.took(row, versions[n] ?? 0, `row ${n}`);
    });
  });

  test('feed: a batch that its handler rejects is handed over again, and the rejection is told (G9)', async (c) => {
    const [row, other] = [c.newRow(), c.newRow()];
    let rejections = 0;
    const consumer = new Consumer(c, (changes) => {
      if (rejections < 3 && changes.some(({ key }) => key === row.key)) {
        rejections += 1;
        throw new Error(`rejection ${rejections}`);
      }
    });
    try {
      const version = await row.putVersion(1);
      await consumer.took(row, version, 'a rejected change');
      expectEqual(rejections, 3, 'the number of rejections');
      expectThat(
        consumer.errors.length >= 3,
        `onError must be told of 3 rejections, got ${inspect(consumer.errors)}`,
      );
      await consumer.took(other, await other.putVersion(1), 'a change after the rejections');
    } finally {
      await consumer.stop();
    }
  });

  test('feed: what a consumer never took, the next one gets (G9)', async (c) => {
    const row = c.newRow();
    const failing = new Consumer(c, () => {
      throw new Error('never');
    });
    const version = await row.putVersion(1);
    await c.eventually('the failing consumer is asked', () => failing.errors.length > 0);
    await failing.stop();
    await consuming(c, async (consumer) => {
      await consumer.took(row, version, 'the change that the first consumer rejected');
    });
  });

  test('feed: consumers side by side take every change between them (G9)', async (c) => {
    const consumers = [
      new Consumer(c, undefined, { batchSize: 3 }),
      new Consumer(c, undefined, { batchSize: 3 }),
    ];
    try {
      const rows = Array.from({ length: 40 }, () => c.newRow());
      const versions = await Promise.all(rows.map((row, n) => row.putVersion(n)));
      for (const [n, row] of rows.entries()) {
        await c.eventually(`row ${n} is taken by one of two consumers`, () =>
          consumers.some((consumer) => consumer.newest(row)?.version === versions[n]),
        );
      }
    } finally {
      await Promise.all(consumers.map((consumer) => consumer.stop()));
    }
  });

  test('feed: a handler is given at most batchSize changes', async (c) => {
    const sizes: number[] = [];
    const rows = Array.from({ length: 12 }, () => c.newRow());
    const versions = await Promise.all(rows.map((row, n) => row.putVersion(n)));
    const consumer = new Consumer(c, (changes) => void sizes.push(changes.length), { batchSize: 5 });
    try {
      for (const [n, row] of rows.entries()) await consumer.took(row, versions[n] ?? 0, `row ${n}`);
    } finally {
      await consumer.stop();
    }
    expectThat(Math.max(...sizes) <= 5, `batches of at most 5 were asked for, got ${inspect(sizes)}`);
  });

  test('feed: consume() ends when its signal aborts, and lets the handler under way finish', async (c) => {
    const [started, go] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const row = c.newRow();
    const consumer = new Consumer(c, async (changes) => {
      if (!changes.some(({ key }) => key === row.key)) return;
      started.resolve();
      await go.promise;
      // Long enough for a consume() that does not wait to be over first.
      await new Promise((resolve) => setTimeout(resolve, 50));
    });
    await row.putVersion(1);
    await bounded('the handler to be called', c.deadlineMs, started.promise);
    const stopped = consumer.stop();
    go.resolve();
    await stopped;
    expectThat(
      consumer.newest(row) !== undefined,
      'the handler must have finished before consume() resolved',
    );
  });

  test('feed: only the sources that are asked for', async (c) => {
    const row = c.newRow();
    const version = await row.putVersion(1);
    const stranger = new Consumer(c, undefined, { sources: ['no_such_source'] });
    await consuming(c, async (consumer) => {
      await consumer.took(row, version, 'the change');
    });
    await stranger.stop();
    expectEqual(stranger.taken, [], 'what a consumer of another source took');
  });

  test('feed: acknowledging a version never hides a newer change, or another row (G9)', async (c) => {
    const [row, other, gone] = [c.newRow(), c.newRow(), c.newRow()];
    const { source } = c.store;
    const first = await row.putVersion(1);
    const kept = await other.putVersion(1);
    const made = await gone.putVersion(1);
    feedOf(c).acknowledge([
      { source, key: row.key, version: first },
      { source, key: gone.key, version: made },
      { source: 'no_such_source', key: other.key, version: kept },
    ]);
    const second = await row.putVersion(2);
    const removed = await gone.deleteVersion();
    feedOf(c).acknowledge([{ source, key: row.key, version: first }]);
    await consuming(c, async (consumer) => {
      await consumer.took(row, second, 'the version after the acknowledged one');
      await consumer.took(other, kept, "the row of another source's acknowledgement");
      const removal = await consumer.took(gone, removed, 'the delete after the acknowledged put');
      expectEqual(removal.op, 'delete', 'its op');
    });
  });

  test('feed: status counts what nobody has taken, and comes down to nothing', async (c) => {
    const row = c.newRow();
    await row.putVersion(1);
    const status = await c.eventually('status tells of the pending change', async () => {
      const now = await feedOf(c).status([c.store.source]);
      return now.pending > 0 ? now : undefined;
    });
    expectThat(status.oldestMs >= 0, `oldestMs must not be negative, got ${status.oldestMs}`);
    await consuming(c, async () => {
      await c.eventually('status comes down to nothing', async () => {
        const { pending, oldestMs } = await feedOf(c).status([c.store.source]);
        return pending === 0 && oldestMs === 0;
      });
    });
  });

  test('feed: replay hands over again what was changed since a position, taken or not', async (c) => {
    const [row, old] = [c.newRow(), c.newRow()];
    const { source } = c.store;
    const shared = { source, holeTtlMs: 1_000, holeOnEmpty: false };
    const registered = [{ ...shared, name: 'kit', keyPrefix: 'kit:kit:' }];
    await feedOf(c).registry.register('kit', registered);
    const [record] = await feedOf(c).registry.observe('kit', [source], 'one');
    expectThat(record?.position !== undefined, 'the position must be known');
    const since = new Map([[source, [record.position]]]);
    const version = await row.putVersion(1);
    await old.putVersion(1);
    const latest = await old.putVersion(2);
    const replayed: Change[] = [];
    await consuming(c, async (consumer) => {
      await consumer.took(row, version, 'the change');
      await consumer.took(old, latest, 'the other change');
      const options = { sources: [source], signal: new AbortController().signal };
      let rejections = 0;
      await feedOf(c).replay(
        since,
        async (changes) => {
          rejections += 1;
          if (rejections === 1) throw new Error('not yet');
          replayed.push(...changes);
        },
        options,
      );
    });
    for (const [key, at] of [
      [row.key, version],
      [old.key, latest],
    ] as const) {
      expectThat(
        replayed.some((change) => change.key === key && change.version === at && change.op === 'put'),
        `replay must hand over version ${at} of ${key}`,
      );
    }
  });

  test('feed: after close nothing is consumed', async (c) => {
    await feedOf(c).close();
    const signal = AbortSignal.timeout(c.deadlineMs);
    const late = feedOf(c).consume(async () => {}, { sources: [c.store.source], signal });
    await bounded('consume after close', c.deadlineMs / 2, expectRejection(late, 'consume after close'));
  });

  test('feed: closed and opened again, while it closes too, it hands over what is changed, and the store serves', async (c) => {
    const feed = feedOf(c);
    if (feed.reopen === undefined) return;
    await feed.close();
    feed.reopen();
    const closing = feed.close();
    feed.reopen();
    await consuming(c, async (consumer) => {
      await bounded('close', c.deadlineMs / 2, closing);
      await c.store.close();
      await c.store.open?.();
      const row = c.newRow();
      await consumer.took(row, await row.putVersion(1), 'a change behind the reopening');
      await row.expectRow(1);
    });
  });

  if (requires('transactions')) {
    test('feed: a transaction’s changes are handed over after its commit, and not at all after a rollback', async (c) => {
      const { transactions } = c.store;
      expectThat(transactions !== undefined, 'store.transactions is missing');
      await consuming(c, async (consumer) => {
        const [kept, dropped, marker] = [c.newRow(), c.newRow(), c.newRow()];
        await expectRejection(
          transactions.transaction(async (tx) => {
            await dropped.putVersion(1, { tx });
            throw new Error('rolled back');
          }, c.call),
          'the transaction',
        );
        const version = await transactions.transaction(async (tx) => {
          const own = await kept.putVersion(1, { tx });
          await marker.putVersion(1);
          await consumer.took(marker, 1, 'a change made meanwhile');
          expectEqual(consumer.newest(kept), undefined, 'what the feed tells of an open transaction');
          return own;
        }, c.call);
        await consumer.took(kept, version, 'the committed change');
        expectEqual(consumer.newest(dropped), undefined, 'what the feed tells of a rolled back transaction');
      });
    });
  }

  if (requires('flush')) {
    test('feed: a flush is handed over with its own version', async (c) => {
      await consuming(c, async (consumer) => {
        const row = c.newRow();
        const version = (await row.putVersion(1)) + 60_000_001;
        await row.run({ kind: 'flush', key: row.key, version, value: row.value(2) });
        await consumer.took(row, version, 'the flush');
      });
    });
  }

  if (gives('foreignWrite')) {
    test('feed: a row that another program wrote gets a version and is handed over (G6)', async (c) => {
      const foreignWrite = hookOf(c, 'foreignWrite');
      await consuming(c, async (consumer) => {
        const [row, gone, fresh] = [c.newRow(), c.newRow(), c.newRow()];
        const before = await row.putVersion(1);
        const last = await gone.putVersion(1);
        await foreignWrite(row.id, row.value(2));
        await foreignWrite(gone.id, null);
        await foreignWrite(fresh.id, fresh.value(3));
        const change = await consumer.took(row, before + 1, 'the foreign update');
        expectEqual(change.op, 'put', 'its op');
        await row.expectRow(2, change.version);
        const removal = await consumer.took(gone, last + 1, 'the foreign delete');
        expectEqual(removal.op, 'delete', 'its op');
        await gone.expectRow(undefined);
        await consumer.took(fresh, 1, 'the foreign insert');
        await fresh.expectRow(3);
        const next = await gone.putVersion(4);
        expectThat(next > removal.version, `a put after the foreign delete must be above it, got ${next}`);
      });
    });

    test('feed: acknowledging a writer’s version does not hide a foreign write after it (G6)', async (c) => {
      const foreignWrite = hookOf(c, 'foreignWrite');
      const row = c.newRow();
      const version = await row.putVersion(1);
      await foreignWrite(row.id, row.value(2));
      feedOf(c).acknowledge([{ source: c.store.source, key: row.key, version }]);
      await consuming(c, async (consumer) => {
        const change = await consumer.took(row, version + 1, 'the foreign write');
        await row.expectRow(2, change.version);
      });
    });
  }
}
