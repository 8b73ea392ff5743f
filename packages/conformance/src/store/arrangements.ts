import type { StoreCommand, Version } from '@lockstep/core';
import { expectEqual, expectThat } from '../kit/expect.js';
import { consuming } from './consumer.js';
import {
  fieldOf,
  hookOf,
  type StoreCase,
  type StoreClaims,
  type StoreContext,
  type TestRow,
} from './context.js';

type Row = TestRow<unknown, unknown>;

/** A kind of command, and the command that writes a row that is there at a version, or is not there. */
interface Kind {
  readonly name: string;
  readonly what: StoreCommand<unknown>['kind'];
  readonly isThere: boolean;
  command(c: StoreContext, row: Row, version: Version): StoreCommand<unknown>;
}

const put = (row: Row, n: number) => ({ kind: 'put', key: row.key, value: row.value(n), above: 0 }) as const;

function kindsOf({ requires }: StoreClaims): readonly Kind[] {
  const kinds: Kind[] = [
    { name: 'a put of a new row', what: 'put', isThere: false, command: (_, row) => put(row, 2) },
    { name: 'a put', what: 'put', isThere: true, command: (_, row) => put(row, 2) },
    {
      name: 'a delete',
      what: 'delete',
      isThere: true,
      command: (_, { key }) => ({ kind: 'delete', key, above: 0 }),
    },
  ];
  if (requires('compareAndSet')) {
    const insert: Kind['command'] = (_, row) => ({ ...put(row, 2), ifVersion: null });
    const replace: Kind['command'] = (_, row, ifVersion) => ({ ...put(row, 2), ifVersion });
    const remove: Kind['command'] = (_, { key }, ifVersion) => ({ kind: 'delete', key, above: 0, ifVersion });
    kinds.push({ name: 'an insert', what: 'put', isThere: false, command: insert });
    kinds.push({ name: 'a replacement', what: 'put', isThere: true, command: replace });
    kinds.push({ name: 'a delete of a version', what: 'delete', isThere: true, command: remove });
  }
  if (requires('increment')) {
    const command: Kind['command'] = (c, { key }) => {
      return { kind: 'increment', key, field: hookOf(c, 'counter'), by: 1, above: 0 };
    };
    kinds.push({ name: 'an increment', what: 'increment', isThere: true, command });
  }
  if (requires('patch')) {
    const command: Kind['command'] = (c, row) => {
      const field = hookOf(c, 'counter');
      return { kind: 'patch', key: row.key, set: { [field]: fieldOf(row.value(2), field) }, above: 0 };
    };
    kinds.push({ name: 'a patch', what: 'patch', isThere: true, command });
  }
  return kinds;
}

/** An adapter may carry a command out otherwise when it comes alone, with its like, or among others: each is recorded. */
export function arrangementCases(test: StoreCase, claims: StoreClaims): void {
  if (!claims.requires('changeFeed') || !claims.requires('versioned')) return;
  const kinds = kindsOf(claims);
  const others = ({ what }: Kind): Kind[] => kinds.filter((each) => each.what !== what);
  const arrangements = [
    { name: 'alone', calls: kinds.map((kind) => [kind]) },
    { name: 'with another of its kind', calls: kinds.map((kind) => [kind, kind]) },
    { name: 'alone among other kinds', calls: kinds.map((kind) => [kind, ...others(kind)]) },
  ];
  for (const { calls, name } of arrangements) {
    test(`feed: each command that comes ${name} is handed over, and a delete is remembered (G4)`, async (c) => {
      await consuming(c, async (consumer) => {
        for (const call of calls) {
          const written = await writeAll(c, call);
          for (const { kind, row, version } of written) {
            const change = await consumer.took(row, version, kind.name);
            const isDelete = kind.what === 'delete';
            expectEqual(change.op, isDelete ? 'delete' : 'put', `the op of ${kind.name}`);
            if (isDelete && claims.requires('flush')) await expectBuried(row, version, kind);
          }
        }
      });
    });
  }
}

/** Sends a command of each kind in one call. Each must write. */
async function writeAll(c: StoreContext, kinds: readonly Kind[]) {
  const rows = [];
  for (const kind of kinds) {
    const row = c.newRow();
    rows.push({ kind, row, version: kind.isThere ? await row.putVersion(1) : 0 });
  }
  const outcomes = await c.write(rows.map(({ kind, row, version }) => kind.command(c, row, version)));
  return rows.map(({ kind, row, version: before }, at) => {
    const { version } = c.expectWritten(outcomes[at], kind.name);
    expectThat(version > before, `${kind.name} must raise the version ${before}, got ${version}`);
    return { kind, row, version };
  });
}

/** A buffered write from before the delete must not bring the row back. */
async function expectBuried(row: Row, version: Version, { name }: Kind): Promise<void> {
  const late = await row.run({ kind: 'flush', key: row.key, version: version - 1, value: row.value(3) });
  expectEqual(late, { kind: 'superseded', version }, `a flush from before ${name}`);
  await row.expectRow(undefined);
}
