import {
  type StoreCommand,
  type StoreDelete,
  type StoreFlush,
  type StoreOutcome,
  type StorePut,
  StoreRefusedError,
} from '@lockstep/core';
import { type Binding, toDocument } from '../rows/binding.js';
import { checkCanonical } from '../rows/key.js';
import { checkStorable } from '../rows/storable.js';
import { stateOf } from '../transactions/log.js';
import type { MongoTransaction } from '../transactions/transactions.js';
import type { Call } from '../wire/call.js';
import { isCutShort, isDuplicateOf, toStoreError } from '../wire/errors.js';
import { deleteRows } from './deletes.js';
import { type FlushOfValue, flushOntoRows, flushWithTombstones } from './flushes.js';
import { failed, Outcomes } from './outcomes.js';
import { patch } from './patches.js';
import { INSERT_TRIES, putMany, putOne } from './puts.js';
import { increment, restamp } from './updates.js';

/** Runs many commands at once: blind puts, deletes and flushes each in one bulk, the others side by side. */
export async function runCommands<Value>(
  binding: Binding,
  commands: readonly StoreCommand<Value>[],
  call: Call,
): Promise<StoreOutcome<Value>[]> {
  const outcomes = new Map<StoreCommand<Value>, StoreOutcome<Value>>();
  const puts: StorePut<Value>[] = [];
  const deletes: StoreDelete[] = [];
  const flushes: StoreFlush<Value>[] = [];
  const alone: StoreCommand<Value>[] = [];
  for (const command of commands) {
    const failure = checkValue(binding, command);
    if (failure !== undefined) outcomes.set(command, failure);
    else if (command.kind === 'put' && command.ifVersion === undefined) puts.push(command);
    else if (command.kind === 'delete') deletes.push(command);
    else if (command.kind === 'flush') flushes.push(command);
    else alone.push(command);
  }
  if (puts.length === 1) alone.push(...puts.splice(0));
  const note = <C extends StoreCommand<Value>>(
    sent: readonly C[],
    got: readonly StoreOutcome<Value>[],
  ): void => {
    sent.forEach((command, at) => {
      const outcome = got[at];
      if (outcome !== undefined) outcomes.set(command, outcome);
    });
  };
  await Promise.all([
    puts.length > 0 && putAll(binding, puts, call).then((got) => note(puts, got)),
    deletes.length > 0 && deleteAll<Value>(binding, deletes, call).then((got) => note(deletes, got)),
    flushes.length > 0 && flushAll(binding, flushes, call).then((got) => note(flushes, got)),
    ...alone.map(async (command) => note([command], [await runOne(binding, command, call)])),
  ]);
  return commands.map((command) => {
    const outcome = outcomes.get(command);
    if (outcome === undefined) throw new TypeError(`${binding.name}: no outcome of a ${command.kind}`);
    return outcome;
  });
}

/** In a transaction: one after the other, on its session. A failure ends the server's transaction. */
export async function runInTransaction<Value>(
  binding: Binding,
  commands: readonly StoreCommand<Value>[],
  tx: MongoTransaction,
  call: Call,
): Promise<StoreOutcome<Value>[]> {
  const outcomes: StoreOutcome<Value>[] = [];
  for (const command of commands) {
    const outcome = checkValue(binding, command) ?? (await runOne(binding, command, call));
    if (outcome.kind === 'written') {
      const op = outcome.value === null ? 'delete' : 'put';
      tx.record(binding, command.key, outcome.version, op);
      tx.look(binding, command.key, stateOf(outcome.value as object | null, outcome.version));
    }
    if (outcome.kind === 'failed') tx.failed(outcome.error);
    outcomes.push(outcome);
  }
  return outcomes;
}

async function runOne<Value>(
  binding: Binding,
  command: StoreCommand<Value>,
  call: Call,
): Promise<StoreOutcome<Value>> {
  try {
    return await runCommand(binding, command, call);
  } catch (error) {
    return failed(binding, command, error);
  }
}

/** Rejects with the driver's error. */
export async function runCommand<Value>(
  binding: Binding,
  command: StoreCommand<Value>,
  call: Call,
): Promise<StoreOutcome<Value>> {
  switch (command.kind) {
    case 'put':
      return await putOne(binding, command, call);
    case 'increment':
      return await increment<Value>(binding, command, call);
    case 'patch':
      return await patch(binding, command, call);
    case 'restamp':
      return await restamp<Value>(binding, command, call);
    case 'delete': {
      const [outcome] = await deleteRows<Value>(binding, [command], call);
      return outcome ?? { kind: 'missing' };
    }
    case 'flush': {
      const [outcome] = await flushWithTombstones(binding, [command], call);
      return outcome ?? { kind: 'missing' };
    }
  }
}

/**
 * A value that can't be stored fails its own command, before it could spoil a bulk; so does a buffered write whose
 * key or version, which a cache's server gave, is none.
 */
export function checkValue<Value>(
  binding: Binding,
  command: StoreCommand<Value>,
): StoreOutcome<Value> | undefined {
  if (command.kind !== 'put' && command.kind !== 'flush') return undefined;
  try {
    if (command.kind === 'flush') {
      checkCanonical(command.key, binding.source);
      if (command.version > binding.clock.highestBelievable) {
        throw new StoreRefusedError(`version ${command.version} is in the future`, { key: command.key });
      }
    }
    if (command.value === null) return undefined;
    toDocument(binding, command.key, command.value);
    checkStorable(binding, command, command.value as object);
    return undefined;
  } catch (error) {
    return failed(binding, command, error);
  }
}

async function putAll<Value>(
  binding: Binding,
  commands: readonly StorePut<Value>[],
  call: Call,
): Promise<StoreOutcome<Value>[]> {
  try {
    return await putMany(binding, commands, call);
  } catch (error) {
    oneByOne(error, binding);
    return await Promise.all(commands.map((command) => runOne<Value>(binding, command, call)));
  }
}

async function deleteAll<Value>(
  binding: Binding,
  commands: readonly StoreDelete[],
  call: Call,
): Promise<StoreOutcome<Value>[]> {
  try {
    return await binding.inTransaction(call.bound, (own) => deleteRows<Value>(binding, commands, own));
  } catch (error) {
    if (commands.length === 1) return commands.map((command) => failed<Value>(binding, command, error));
  }
  const each = commands.map((command) => deleteAll<Value>(binding, [command], call));
  return (await Promise.all(each)).flat();
}

/** Lets commands that were refused as a whole, before they were sent, be tried one by one. Throws other errors. */
function oneByOne(error: unknown, binding: Binding): readonly [] {
  const storeError = toStoreError(error, `${binding.name}: bulk write`);
  if (storeError.code !== 'LOCKSTEP_STORE_REFUSED') throw storeError;
  return [];
}

async function flushAll<Value>(
  binding: Binding,
  commands: readonly StoreFlush<Value>[],
  call: Call,
): Promise<StoreOutcome<Value>[]> {
  const outcomes = new Outcomes<Value>();
  const onto = commands.filter((command): command is FlushOfValue<Value> => command.value !== null);
  if (onto.length > 0) {
    // A transaction tells at once which rows others hold, and takes as long as the call may where nobody does.
    const done = await flushOntoRows(binding, onto, call).catch((error: unknown) =>
      isCutShort(error) ? [] : oneByOne(error, binding),
    );
    outcomes.note(onto, done);
  }
  const left = commands.filter((command) => !outcomes.has(command));
  outcomes.note(left, await flushInTransaction(binding, left, call));
  return commands.map((command) => outcomes.get(command) ?? { kind: 'missing' });
}

/** How long flushes of one transaction try again for a document that others hold; and once it is known that one is held. */
const PATIENCE_MS = 200;
const PATIENCE_AGAIN_MS = 20;

/**
 * Many flushes in one transaction; where one is refused, or others hold its row, each half in its own, down to the
 * one at fault.
 */
async function flushInTransaction<Value>(
  binding: Binding,
  commands: readonly StoreFlush<Value>[],
  call: Call,
  patienceMs = PATIENCE_MS,
  tries = 1,
): Promise<StoreOutcome<Value>[]> {
  if (commands.length === 0) return [];
  const flushing = (own: Call): Promise<StoreOutcome<Value>[]> => flushWithTombstones(binding, commands, own);
  try {
    return await binding.inTransaction(call.bound, flushing, patienceMs);
  } catch (error) {
    // A row of one of these keys has been inserted since: now there is one to compare with.
    if (isDuplicateOf(error, binding.keyField) && tries < INSERT_TRIES) {
      return await flushInTransaction(binding, commands, call, patienceMs, tries + 1);
    }
    const { code } = toStoreError(error, binding.name);
    const busy = code === 'LOCKSTEP_STORE_BUSY';
    const splits = commands.length > 1 && (busy || code === 'LOCKSTEP_STORE_REFUSED');
    if (!splits) return commands.map((each) => failed<Value>(binding, each, error));
    const middle = commands.length >> 1;
    const halves = [commands.slice(0, middle), commands.slice(middle)];
    const nextMs = busy ? PATIENCE_AGAIN_MS : patienceMs;
    return (await Promise.all(halves.map((half) => flushInTransaction(binding, half, call, nextMs)))).flat();
  }
}
