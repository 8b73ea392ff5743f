import { NO_VERSION, type StoreOutcome, type StorePut, type StoreRow, type Version } from '@lockstep/core';
import { BSON } from 'mongodb';
import { type Binding, floorOf, keyFilter, lastStart, stampFor, toDocument, toRow } from '../rows/binding.js';
import { findRows, versionOf } from '../rows/reads.js';
import { CLOCK_VARIABLE, clockVariable, replacePipeline, stampExpression, toStored } from '../rows/stamp.js';
import { type Call, statementOptions } from '../wire/call.js';
import { isDuplicateOf } from '../wire/errors.js';
import { bulk } from './bulk.js';
import { changeRow } from './change-row.js';
import { conflictAt, failed, Outcomes, written } from './outcomes.js';
import { restamp } from './updates.js';

/** Tries of an insert that meets others of its key. */
export const INSERT_TRIES = 5;

/** One row. Where there is one: one statement, one round trip, its after-image included. */
export async function putOne<Value>(
  binding: Binding,
  command: StorePut<Value>,
  call: Call,
): Promise<StoreOutcome<Value>> {
  const { ifVersion } = command;
  if (ifVersion !== null) {
    const row = await replaceRow(binding, command, ifVersion, call);
    if (row !== undefined) return written(row);
    if (ifVersion !== undefined) return await conflictAt(binding, command.key, call);
  }
  if (call.session !== undefined) return await insertRow(binding, command, call);
  for (let tries = 1; ; tries += 1) {
    try {
      return await binding.inTransaction(call.bound, (own) => insertRow(binding, command, own));
    } catch (error) {
      // Another insert of this key has committed since: now there is a row to replace.
      if (!isDuplicateOf(error, binding.keyField) || tries === INSERT_TRIES) throw error;
    }
  }
}

async function replaceRow<Value>(
  binding: Binding,
  { key, value, above }: StorePut<Value>,
  ifVersion: Version | undefined,
  call: Call,
): Promise<StoreRow<Value> | undefined> {
  const { versionField } = binding;
  const filter = {
    ...keyFilter(binding, key),
    ...(ifVersion === undefined ? {} : { [versionField]: toStored(ifVersion) }),
  };
  const document = toDocument(binding, key, value);
  const replaced = await changeRow(binding, call, filter, () =>
    replacePipeline(versionField, document, stampFor(binding, above, call)),
  );
  return replaced === null ? undefined : toRow(binding, replaced);
}

/**
 * Inserts a row, in a transaction, above the tombstone of the one before: a server's clock can step
 * back, and an update pipeline sees no other collection. Whoever inserts or deletes the row meanwhile
 * makes the transaction conflict and run again.
 */
async function insertRow<Value>(
  binding: Binding,
  { key, value, above, ifVersion }: StorePut<Value>,
  call: Call,
): Promise<StoreOutcome<Value>> {
  const { versionField, source, tombstones } = binding;
  if (ifVersion === null) {
    const version = await versionOf(binding, key, call);
    if (version !== undefined) return { kind: 'conflict', version };
  }
  const [floor = NO_VERSION] = await tombstones.versions(source, [key], call);
  await lockKeys(binding, [key], call);
  const inserted = await binding.primary.findOneAndUpdate(
    keyFilter(binding, key),
    replacePipeline(
      versionField,
      toDocument(binding, key, value),
      stampFor(binding, Math.max(above, floor), call),
    ),
    { ...statementOptions(call), upsert: true, returnDocument: 'after' },
  );
  if (inserted === null) throw new TypeError('an upsert returned no document');
  return written(toRow(binding, inserted));
}

/**
 * Makes inserts of one key meet: two rows with one `_id` always do, two with one value of another field only while
 * its unique index is there. A collection that was dropped and made anew has lost it, unseen by who is attached.
 * And with a deadline a reader meets its writer there: a row that is not committed yet has no other place.
 */
async function lockKeys(binding: Binding, keys: readonly string[], call: Call): Promise<void> {
  const meets = binding.keyField !== '_id' || call.bound.notAfterMs !== undefined;
  if (meets) await binding.tombstones.lock(binding.source, keys, call);
}

/**
 * Many blind puts: one bulk write onto the rows that exist, read back in one find; the rest, in
 * another with their tombstones. What is read back may be a later write's: then value and version are
 * that one's, a newer pair. Where it is an old copy of the document that another program has put back, version
 * included, the row gets a new version, so that none is acknowledged that others have passed. A row that is
 * refused fails alone.
 */
export async function putMany<Value>(
  binding: Binding,
  commands: readonly StorePut<Value>[],
  call: Call,
): Promise<StoreOutcome<Value>[]> {
  const { versionField } = binding;
  const operations = commands.map(({ key, value, above }) => ({
    updateOne: {
      filter: keyFilter(binding, key),
      update: replacePipeline(
        versionField,
        toDocument(binding, key, value),
        stampExpression(versionField, floorOf(binding, above), CLOCK_VARIABLE),
      ),
    },
  }));
  const past = binding.clock.surelyPast;
  const { errors, matched } = await bulk(binding, operations, call, {
    variables: () => clockVariable(lastStart(binding, call)),
  });
  const sent = commands.filter((_, at) => !errors.has(at));
  const rows = await findRows<Value>(
    binding,
    binding.primary,
    sent.map(({ key }) => key),
    call,
  );
  const byKey = new Map(rows.flatMap((row) => (row === undefined ? [] : [[row.key, row]])));
  // The server counts what it matched and does not name it. Where it missed some, a row that was read
  // back is taken for written only if it holds what was sent: another may have inserted it since.
  const sure = matched === sent.length;
  const outcomes = new Outcomes<Value>();
  const copies: StoreRow<Value>[] = [];
  for (const command of sent) {
    const { key, value, above } = command;
    const row = byKey.get(key);
    if (row === undefined || row.version === NO_VERSION) continue;
    if (row.version < Math.max(past, floorOf(binding, above))) copies.push(row);
    else if (sure || holds(row.value, toDocument(binding, key, value))) {
      outcomes.note([command], [written(row)]);
    }
  }
  for (const { key, version } of copies) {
    const command = { kind: 'restamp', key, ifVersion: version, above: past } as const;
    const outcome = await restamp<Value>(binding, command, call);
    if (outcome.kind === 'written') outcomes.note([command], [outcome]);
  }
  const left = sent.filter((command) => !outcomes.has(command));
  outcomes.note(left, await insertAll(binding, left, call));
  return commands.map((command, at) => {
    const refused = errors.get(at);
    return (refused === undefined && outcomes.get(command)) || failed(binding, command, refused);
  });
}

function holds(stored: unknown, sent: object): boolean {
  return Buffer.compare(BSON.serialize(stored as object), BSON.serialize(sent)) === 0;
}

/** Inserts many rows in one transaction; where one is refused, or meets others too often, each on its own. */
async function insertAll<Value>(
  binding: Binding,
  commands: readonly StorePut<Value>[],
  call: Call,
): Promise<StoreOutcome<Value>[]> {
  if (commands.length > 1) {
    try {
      return await binding.inTransaction(call.bound, (own) => insertRows(binding, commands, own));
    } catch {
      // Which of them it was is told below, by each one's own error.
    }
  }
  return await Promise.all(
    commands.map(async (command): Promise<StoreOutcome<Value>> => {
      try {
        return await putOne(binding, command, call);
      } catch (error) {
        return failed(binding, command, error);
      }
    }),
  );
}

async function insertRows<Value>(
  binding: Binding,
  commands: readonly StorePut<Value>[],
  call: Call,
): Promise<StoreOutcome<Value>[]> {
  const { versionField, source, tombstones, primary } = binding;
  const keys = commands.map(({ key }) => key);
  const floors = await tombstones.versions(source, keys, call);
  await lockKeys(binding, keys, call);
  await primary.bulkWrite(
    commands.map(({ key, value, above }, at) => ({
      updateOne: {
        filter: keyFilter(binding, key),
        update: replacePipeline(
          versionField,
          toDocument(binding, key, value),
          stampFor(binding, Math.max(above, floors[at] ?? NO_VERSION), call),
        ),
        upsert: true,
      },
    })),
    { ...statementOptions(call), ordered: true },
  );
  const rows = await findRows<Value>(binding, primary, keys, call);
  return rows.map((row) => {
    if (row === undefined) throw new TypeError('an upsert left no document');
    return written(row);
  });
}
