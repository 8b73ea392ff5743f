import { isDeepStrictEqual } from 'node:util';
import type { RowPatch } from '../contracts/store.js';
import { StoreRefusedError } from '../errors.js';
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
  if (!isDeepStrictEqual(one, other)) return false;
  return Object.is(one, other) || (!isOpaque(other) && inOrder(one, other, new Set()));
}

/** True when equal values have their properties in one order: to a document database another order is another value. */
function inOrder(one: unknown, other: unknown, seen: Set<unknown>): boolean {
  if (typeof one !== 'object' || one === null || isCopied(one) || seen.has(one)) return true;
  seen.add(one);
  const names = Object.keys(other as object);
  return Object.entries(one).every(
    ([name, value], at) => name === names[at] && inOrder(value, (other as Properties)[name], seen),
  );
}

function isOpaque(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const known = isProperties(value) && Object.keys(value).length > 0;
  return !(known || Array.isArray(value) || isCopied(value) || isPlain(value));
}

/**
 * The row with a patch applied. A path leads through documents, which are made where there is nothing or null, and to
 * elements that an array has; a property whose own name is the path comes first. Throws `StoreRefusedError`.
 */
export function patched<Value>(row: Value, set: RowPatch<Value>): Value {
  const next: Properties = { ...(row as Properties) };
  for (const [path, value] of Object.entries(set)) {
    const parts = Object.hasOwn(next, path) ? [path] : path.split('.');
    let at = next;
    for (const [depth, part] of parts.entries()) {
      if (Array.isArray(at) && !(/^\d+$/.test(part) && Number(part) < at.length))
        throw leadsNowhere(path, part, 'array');
      if (depth === parts.length - 1) at[part] = value;
      else at = at[part] = innerOf(at[part], path, parts[depth + 1] as string);
    }
  }
  return next as Value;
}

/** A copy of what a path leads through. */
function innerOf(value: unknown, path: string, part: string): Properties {
  if (value === undefined || value === null) return {};
  if (Array.isArray(value)) return [...(value as unknown[])] as unknown as Properties;
  if (isProperties(value) && isPlain(value)) return { ...value };
  throw leadsNowhere(path, part, typeof value);
}

function leadsNowhere(path: string, part: string, type: string): StoreRefusedError {
  return new StoreRefusedError(`"${path}" leads nowhere: there is no "${part}" in a value of type ${type}`);
}
