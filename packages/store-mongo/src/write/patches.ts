import { type StoreOutcome, type StorePatch, StoreRefusedError } from '@lockstep/core';
import type { Document } from 'mongodb';
import { type Binding, keyFilter, stampFor, toRow } from '../rows/binding.js';
import { encodeKey } from '../rows/key.js';
import { toStored } from '../rows/stamp.js';
import { checkName, checkStorable } from '../rows/storable.js';
import type { Call } from '../wire/call.js';
import { changeRow } from './change-row.js';
import { conflictAt, written } from './outcomes.js';

/** Deeper than this MongoDB stores nothing. */
const MAX_PARTS = 100;
const INDEX = /^(?:0|[1-9]\d{0,8})$/;

/** Sets some properties, and leaves all others as the server holds them, whatever JavaScript would make of them. */
export async function patch<Value>(
  binding: Binding,
  command: StorePatch<Value>,
  call: Call,
): Promise<StoreOutcome<Value>> {
  const { above, ifVersion, key } = command;
  const { versionField } = binding;
  const filter = {
    ...keyFilter(binding, key),
    ...(ifVersion === undefined ? {} : { [versionField]: toStored(ifVersion) }),
  };
  const stages = patchStages(binding, command);
  const document = await changeRow(binding, call, filter, () => [
    ...stages,
    { $set: { [versionField]: stampFor(binding, above, call) } },
  ]);
  if (document !== null) return written(toRow<Value>(binding, document));
  return ifVersion === undefined ? { kind: 'missing' } : await conflictAt(binding, key, call);
}

/** Values are literals: text that starts with `$` is data. Throws `StoreRefusedError`. */
function patchStages<Value>(binding: Binding, command: StorePatch<Value>): Document[] {
  const { key, unset = [] } = command;
  const { keyField, name, source, versionField } = binding;
  const fixed: ReadonlySet<string> = new Set(['_id', keyField, versionField]);
  const refused = (problem: string): StoreRefusedError =>
    new StoreRefusedError(`${name}: patch of "${key}": ${problem}`, { key });
  const properties: [string, unknown][] = [];
  const stages: Document[] = [];
  let levels = 0;
  for (const [path, value] of Object.entries(command.set)) {
    // As with a put, the version is the store's affair.
    if (path === versionField) continue;
    if (path === keyField && encodeKey(value, source) === key) continue;
    if (path === keyField || path === '_id') throw refused(`"${path}" can't be set`);
    const parts = path.split('.');
    if (path === '$ref' || path === '$id')
      throw refused(`"${path}" would make the driver read the row as a DBRef`);
    levels = Math.max(levels, parts.length - 1);
    if (parts.length === 1) properties.push([path, value]);
    else {
      if (fixed.has(parts[0] ?? '')) throw refused(`"${path}" can't be set`);
      if (parts.length > MAX_PARTS) throw refused(`a path of ${parts.length} parts is too long`);
      stages.push({ $replaceWith: setPath(path, parts, value) });
    }
  }
  checkStorable(binding, command, command.set, levels);
  for (const property of unset) checkName(binding, command, property);
  const gone = unset.filter((property) => !fixed.has(property));
  if (properties.length > 0) {
    const literal = { $literal: Object.fromEntries(properties) };
    stages.unshift({ $replaceWith: { $mergeObjects: ['$$ROOT', literal] } });
  }
  return [...stages, ...gone.map((property) => ({ $replaceWith: setField(property, '$$ROOT', '$$REMOVE') }))];
}

/** A property whose own name is the path is meant before what the path leads to. */
function setPath(path: string, parts: readonly string[], value: unknown): Document {
  const literal = { $literal: value };
  const own = { $ne: [{ $type: fieldOf(path, '$$ROOT') }, 'missing'] };
  return { $cond: [own, setField(path, '$$ROOT', literal), setWithin('$$ROOT', parts, literal, path)] };
}

/**
 * The value `at` with something set in it. Where there is nothing, or null, a document is made; a number is the place
 * of an element that an array has. A path through anything else fails its statement, which then changes nothing.
 */
function setWithin(
  at: Document | string,
  [part = '', ...rest]: readonly string[],
  value: Document,
  path: string,
): Document {
  const isDocument = { $eq: [{ $type: '$$at' }, 'object'] };
  const index = INDEX.test(part) ? Number(part) : -1;
  const isElement = { $cond: [{ $isArray: '$$at' }, { $lt: [index, { $size: '$$at' }] }, false] };
  /** One of three, by what is there; where no number leads on there is no element. */
  const byKind = (ofDocument: Document, ofElement: Document, other: Document | null): Document => ({
    $cond: [isDocument, ofDocument, index < 0 ? other : { $cond: [isElement, ofElement, other] }],
  });
  const inner = byKind(fieldOf(part, '$$at'), { $arrayElemAt: ['$$at', index] }, null);
  const elements = {
    $map: {
      input: { $range: [0, { $size: '$$at' }] },
      as: 'index',
      in: { $cond: [{ $eq: ['$$index', index] }, '$$new', { $arrayElemAt: ['$$at', '$$index'] }] },
    },
  };
  const changed = byKind(setField(part, '$$at', '$$new'), elements, noPath(path, part));
  const vars = { new: rest.length === 0 ? value : setWithin(inner, rest, value, path) };
  return { $let: { vars: { at: { $ifNull: [at, { $literal: {} }] } }, in: { $let: { vars, in: changed } } } };
}

/** Fails when it is evaluated; what makes it depend on the row keeps the server from evaluating it before. */
function noPath(path: string, part: string): Document {
  const text = `lockstep: "${path}" leads nowhere: there is no "${part}" in a value of type `;
  return { $toLong: { $concat: [{ $literal: text }, { $type: '$$at' }] } };
}

function fieldOf(name: string, input: Document | string): Document {
  return { $getField: { field: { $literal: name }, input } };
}

function setField(name: string, input: Document | string, value: Document | string): Document {
  return { $setField: { field: { $literal: name }, input, value } };
}
