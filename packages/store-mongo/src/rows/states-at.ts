import type { ColumnTexts } from '@lockstep/core';
import type { Document } from 'mongodb';
import { type Call, statementOptions } from '../wire/call.js';
import { type Binding, keyIfAny, keysFilter } from './binding.js';
import { statesOf } from './declared.js';

/** The states of rows as they are, by key. */
export async function statesAt(
  binding: Binding,
  keys: readonly string[],
  fields: readonly string[],
  call: Call,
  options: Document = {},
): Promise<Map<string, ColumnTexts[]>> {
  const { keyField, primary } = binding;
  const projection = Object.fromEntries(['_id', keyField, ...fields].map((field) => [field, 1]));
  const found = await primary
    .find(keysFilter(binding, keys), { ...statementOptions(call), projection, ...options })
    .toArray();
  const states = new Map<string, ColumnTexts[]>();
  for (const document of found) {
    const key = keyIfAny(binding, document);
    if (key !== undefined) states.set(key, statesOf(binding, document, fields));
  }
  return states;
}
