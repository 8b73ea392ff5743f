import { NO_VERSION, type StoreCommand, type StoreOutcome, type StoreRow } from '@lockstep/core';
import type { Binding } from '../rows/binding.js';
import { versionOf } from '../rows/reads.js';
import type { Call } from '../wire/call.js';
import { toStoreError } from '../wire/errors.js';

export function written<Value>({ value, version }: StoreRow<Value>): StoreOutcome<Value> {
  return { kind: 'written', value, version };
}

/** The outcome of a write whose `ifVersion` is not the row's: with the version that the row has. */
export async function conflictAt<Value>(
  binding: Binding,
  key: string,
  call: Call,
): Promise<StoreOutcome<Value>> {
  return { kind: 'conflict', version: (await versionOf(binding, key, call)) ?? NO_VERSION };
}

/** The outcome of a command that met a driver's error, or whose outcome is not known to be another. */
export function failed<Value>(
  binding: Binding,
  { kind, key }: Pick<StoreCommand<Value>, 'kind' | 'key'>,
  error: unknown,
): StoreOutcome<Value> {
  return { kind: 'failed', error: toStoreError(error, `${binding.name}: ${kind}`, { key }) };
}

/** The outcomes of commands, which arrive in parts. Keys must be distinct. */
export class Outcomes<Value> {
  readonly #byKey = new Map<string, StoreOutcome<Value>>();

  has({ key }: { readonly key: string }): boolean {
    return this.#byKey.has(key);
  }

  get({ key }: { readonly key: string }): StoreOutcome<Value> | undefined {
    return this.#byKey.get(key);
  }

  /** Notes the outcomes of some commands, in their order; `undefined` where there is none yet. */
  note(
    commands: readonly { readonly key: string }[],
    outcomes: readonly (StoreOutcome<Value> | undefined)[],
  ): void {
    commands.forEach(({ key }, at) => {
      const outcome = outcomes[at];
      if (outcome !== undefined) this.#byKey.set(key, outcome);
    });
  }
}
