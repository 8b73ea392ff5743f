import type { ColumnTexts, StoreCommand, StoreOutcome } from '@lockstep/core';
import type { Document } from 'mongodb';
import type { Binding } from '../rows/binding.js';
import { statesOf } from '../rows/declared.js';
import { keptTags, leaveTags, withKept } from '../rows/kept-tags.js';
import { statesAt } from '../rows/states-at.js';
import type { Call } from '../wire/call.js';
import { isDuplicateOf } from '../wire/errors.js';
import { failed } from './outcomes.js';
import { INSERT_TRIES } from './puts.js';
import { checkValue, runCommand, runCommands } from './writes.js';

/**
 * Runs commands of a collection some of whose fields are declared: what is written tells their values. Unique values are
 * named by what a row gets alone, which the row says that each write returns. Where fields are tags, each write is a
 * transaction of its own that has read what the row had before, and what was kept of it: whoever changes the row in between
 * makes it run again.
 */
export async function runDeclared<Value>(
  binding: Binding,
  commands: readonly StoreCommand<Value>[],
  call: Call,
): Promise<StoreOutcome<Value>[]> {
  const { declared } = binding;
  const { fields } = declared;
  if (fields.length === 0) return await runCommands(binding, commands, call);
  if (declared.tags.length > 0) {
    return await Promise.all(commands.map((command) => runAlone(binding, command, call)));
  }
  return (await runCommands(binding, commands, call)).map((outcome) =>
    outcome.kind === 'written' ? { ...outcome, texts: after(binding, outcome) } : outcome,
  );
}

async function runAlone<Value>(
  binding: Binding,
  command: StoreCommand<Value>,
  call: Call,
): Promise<StoreOutcome<Value>> {
  const { declared, keyField } = binding;
  const { fields } = declared;
  const refused = checkValue(binding, command);
  if (refused !== undefined) return refused;
  for (let tries = 1; ; tries += 1) {
    try {
      return await binding.inTransaction(call.bound, async (own) => {
        const before = await statesAt(binding, [command.key], fields, own);
        // Only once the snapshot stands: see keptTags.
        const [outcome, kept] = await Promise.all([
          runCommand(binding, command, own),
          keptTags(binding, [command.key], own),
        ]);
        if (outcome.kind !== 'written') return outcome;
        const left = after(binding, outcome);
        const { key } = command;
        await leaveTags(binding, [{ key, states: left.length === 0 ? undefined : left }], kept, own);
        return { ...outcome, texts: withKept(binding, kept.get(key), [before.get(key), left]) };
      });
    } catch (error) {
      // Another insert of this key has committed since: now there is a row to write over.
      if (!isDuplicateOf(error, keyField) || tries === INSERT_TRIES) return failed(binding, command, error);
    }
  }
}

function after<Value>(
  binding: Binding,
  { value }: Extract<StoreOutcome<Value>, { kind: 'written' }>,
): readonly ColumnTexts[] {
  return value === null ? [] : statesOf(binding, value as Document, binding.declared.fields);
}
