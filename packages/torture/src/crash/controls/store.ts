import type { StoreAdapter, StoreCallOptions, StoreCommand, StoreFlush, StoreOutcome } from '@lockstep/core';
import type { ControlName } from './names.js';

/** The store with the control's rule taken out; the store itself where the rule is none of its. */
export function controlledStore<Value, Id, Tx>(
  store: StoreAdapter<Value, Id, Tx>,
  control: ControlName | undefined,
): StoreAdapter<Value, Id, Tx> {
  const rewrite = rewriting(store, control);
  if (rewrite === undefined) return store;
  const write: typeof store.write = async (commands, options) => {
    const rewritten = await Promise.all(commands.map((command) => rewrite(command, options)));
    const commandsLeft = rewritten.flatMap((each) => ('outcome' in each ? [] : [each.command]));
    const outcomes = commandsLeft.length === 0 ? [] : await store.write(commandsLeft, options);
    let next = 0;
    return rewritten.map((each, i): StoreOutcome<Value> => {
      if ('outcome' in each) return each.outcome;
      const outcome = outcomes[next++] as StoreOutcome<Value>;
      return asFlush(commands[i] as StoreCommand<Value>, outcome);
    });
  };
  return new Proxy(store, {
    get(target, name) {
      if (name === 'write') return write;
      const member: unknown = Reflect.get(target, name, target);
      return typeof member === 'function' ? member.bind(target) : member;
    },
  });
}

type Rewritten<Value> = { readonly command: StoreCommand<Value> } | { readonly outcome: StoreOutcome<Value> };
type Rewrite<Value> = (
  command: StoreCommand<Value>,
  options: StoreCallOptions,
) => Promise<Rewritten<Value>> | Rewritten<Value>;

function rewriting<Value, Id, Tx>(
  store: StoreAdapter<Value, Id, Tx>,
  control: ControlName | undefined,
): Rewrite<Value> | undefined {
  switch (control) {
    case 'flush-without-version':
      return (command) => ({ command: command.kind === 'flush' ? blind(command) : command });
    case 'flush-restamps':
      return async (command, options) => {
        if (command.kind !== 'flush') return { command };
        const [row] = await store.read([command.key], { ...options, primary: true });
        if (row !== undefined && row.version >= command.version) {
          return { outcome: { kind: 'superseded', version: row.version } };
        }
        return { command: blind(command) };
      };
    case 'no-skew-wait':
      return (command) => {
        if (command.kind !== 'put' && command.kind !== 'delete') return { command };
        const { aheadMs: _, ...rest } = command;
        return { command: rest };
      };
    default:
      return undefined;
  }
}

function blind<Value>({ key, value }: StoreFlush<Value>): StoreCommand<Value> {
  return value === null ? { kind: 'delete', key, above: 0 } : { kind: 'put', key, value, above: 0 };
}

/** A rewritten flush's outcome as the flusher knows it. */
function asFlush<Value>(command: StoreCommand<Value>, outcome: StoreOutcome<Value>): StoreOutcome<Value> {
  if (command.kind !== 'flush') return outcome;
  const { value, version } = command;
  if (outcome.kind === 'written' || outcome.kind === 'missing') return { kind: 'written', value, version };
  return outcome;
}
