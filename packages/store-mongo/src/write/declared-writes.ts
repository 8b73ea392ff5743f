import type { ColumnTexts, StoreCommand, StoreOutcome } from '@lockstep/core';
import type { Document } from 'mongodb';
import type { Binding } from '../rows/binding.js';
import { textsOf } from '../rows/declared.js';
import { keptTags, keptTexts, leaveTags } from '../rows/kept-tags.js';
import { textsAt } from '../rows/texts-at.js';
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
  const { declared, source } = binding;
  const { fields } = declared;
  if (fields.length === 0) return await runCommands(binding, commands, call);
  if (declared.tags.length > 0) {
    return await Promise.all(commands.map((command) => runAlone(binding, command, call)));
  }
  return (await runCommands(binding, commands, call)).map((outcome) =>
    outcome.kind === 'written' ? { ...outcome, texts: after(outcome, fields, source) } : outcome,
  );
}

async function runAlone<Value>(
  binding: Binding,
  command: StoreCommand<Value>,
  call: Call,
): Promise<StoreOutcome<Value>> {
  const { declared, keyField, source } = binding;
  const { fields } = declared;
  const refused = checkValue(binding, command);
  if (refused !== undefined) return refused;
  for (let tries = 1; ; tries += 1) {
    try {
      return await binding.inTransaction(call.bound, async (own) => {
        const before = await textsAt(binding, [command.key], fields, own);
        // Only once the snapshot stands: see keptTags.
        const [outcome, kept] = await Promise.all([
          runCommand(binding, command, own),
          keptTags(binding, [command.key], own),
        ]);
        if (outcome.kind !== 'written') return outcome;
        const left = after(outcome, fields, source);
        const texts = [...before.values(), ...left];
        await leaveTags(binding, [{ key: command.key, texts: left[0] }], kept, own);
        return { ...outcome, texts: [...keptTexts(binding, kept.get(command.key), texts), ...texts] };
      });
    } catch (error) {
      // Another insert of this key has committed since: now there is a row to write over.
      if (!isDuplicateOf(error, keyField) || tries === INSERT_TRIES) return failed(binding, command, error);
    }
  }
}

function after<Value>(
  { value }: Extract<StoreOutcome<Value>, { kind: 'written' }>,
  fields: readonly string[],
  source: string,
): readonly ColumnTexts[] {
  return value === null ? [] : [textsOf(value as Document, fields, source)];
}
