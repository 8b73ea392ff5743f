import { isDeepStrictEqual } from 'node:util';
import type { RowPatch } from '../contracts/store.js';
import { isCopied, isPlain } from './copy.js';

/** The changes that turn one row into another. */
export interface Difference<Value> {
  readonly set: RowPatch<Value>;
  /** Properties that are gone. */
  readonly unset: readonly string[];
}

type Properties = Record<string, unknown>;

/** A row of named properties, which can be changed one by one. */
export function isProperties(value: unknown): value is Properties {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The properties that differ, whole, and those that are gone; `undefined` counts as gone. */
export function differenceOf<Value>(before: Value, after: Value): Difference<Value> {
  const [old, next] = [before as Properties, after as Properties];
  const set: Properties = {};
  for (const [property, value] of Object.entries(next)) {
    if (value !== undefined && !isSame(old[property], value)) set[property] = value;
  }
  const gone = (property: string): boolean => old[property] !== undefined && next[property] === undefined;
  return { set: set as RowPatch<Value>, unset: Object.keys(old).filter(gone) };
}

/** Instances that show nothing of what they hold can't be compared: they count as different. */
function isSame(one: unknown, other: unknown): boolean {
  return isDeepStrictEqual(one, other) && (Object.is(one, other) || !isOpaque(other));
}

function isOpaque(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const known = isProperties(value) && Object.keys(value).length > 0;
  return !(known || Array.isArray(value) || isCopied(value) || isPlain(value));
}

/** The row with a patch applied; what a path leads through is made where it is not there. */
export function patched<Value>(row: Value, set: RowPatch<Value>): Value {
  const next: Properties = { ...(row as Properties) };
  for (const [path, value] of Object.entries(set)) {
    const parts = Object.hasOwn(next, path) ? [path] : path.split('.');
    let at = next;
    for (const part of parts.slice(0, -1)) {
      const inner = at[part];
      const copy: Properties = isProperties(inner) ? { ...inner } : {};
      at[part] = copy;
      at = copy;
    }
    at[parts.at(-1) as string] = value;
  }
  return next as Value;
}
