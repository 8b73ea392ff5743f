import type { ColumnTexts } from '@lockstep/core';
import type { Document } from 'mongodb';
import { type Call, statementOptions } from '../wire/call.js';
import { type Binding, keyIfAny, keysFilter } from './binding.js';
import { textsOf } from './declared.js';

/** The texts of rows as they are, by key. */
export async function textsAt(
  binding: Binding,
  keys: readonly string[],
  fields: readonly string[],
  call: Call,
  options: Document = {},
): Promise<Map<string, ColumnTexts>> {
  const { keyField, primary, source } = binding;
  const projection = Object.fromEntries(['_id', keyField, ...fields].map((field) => [field, 1]));
  const found = await primary
    .find(keysFilter(binding, keys), { ...statementOptions(call), projection, ...options })
    .toArray();
  const texts = new Map<string, ColumnTexts>();
  for (const document of found) {
    const key = keyIfAny(binding, document);
    if (key !== undefined) texts.set(key, textsOf(document, fields, source));
  }
  return texts;
}
