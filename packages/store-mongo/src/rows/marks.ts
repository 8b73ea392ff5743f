/** The places of values that BSON, as this driver writes it, turns into something else. A path has a part per level. */
export interface Marks {
  /** `undefined`: null would be written. */
  readonly undefineds: readonly (readonly string[])[];
  /** Times that JavaScript's dates don't reach, or that are none: 1970 would be written. */
  readonly dates: readonly (readonly string[])[];
}

/** Deeper than this MongoDB stores nothing, and BSON itself names what leads back to itself. */
const MAX_DEPTH = 200;

class Found implements Marks {
  readonly undefineds: string[][] = [];
  readonly dates: string[][] = [];
}

/** `undefined` where there is nothing of the kind, as in nearly all documents: only others are walked by their paths. */
export function marksOf(value: unknown): Marks | undefined {
  return typeof value === 'object' && value !== null && anyMarked(value, 0) ? foundIn(value) : undefined;
}

/** Allocates nothing: each put comes here. Inherited properties count, too; {@link foundIn} passes over them. */
function anyMarked(object: object, level: number): boolean {
  if (Array.isArray(object)) {
    for (let at = 0; at < object.length; at += 1) if (isMarked(object[at], level)) return true;
    return false;
  }
  for (const name in object) if (isMarked((object as Record<string, unknown>)[name], level)) return true;
  return false;
}

function isMarked(value: unknown, level: number): boolean {
  if (value === undefined) return true;
  if (typeof value !== 'object' || value === null) return false;
  if (value instanceof Date) return Number.isNaN(value.getTime());
  if (level > MAX_DEPTH || value instanceof Uint8Array || '_bsontype' in value) return false;
  return anyMarked(value, level + 1);
}

function foundIn(value: object): Marks | undefined {
  const path: string[] = [];
  let found: Found | undefined;
  const note = (): Found => {
    found ??= new Found();
    return found;
  };
  const visit = (inner: unknown, name: string): void => {
    if (inner === undefined) note().undefineds.push([...path, name]);
    else if (typeof inner === 'object' && inner !== null) visitObject(inner, name);
  };
  const visitObject = (object: object, name: string): void => {
    if (object instanceof Date) {
      if (Number.isNaN(object.getTime())) note().dates.push([...path, name]);
      return;
    }
    if (path.length > MAX_DEPTH || object instanceof Uint8Array || '_bsontype' in object) return;
    path.push(name);
    visitMembers(object);
    path.pop();
  };
  const visitMembers = (object: object): void => {
    if (Array.isArray(object)) {
      for (let at = 0; at < object.length; at += 1) visit(object[at], String(at));
      return;
    }
    for (const name of Object.keys(object)) visit((object as Record<string, unknown>)[name], name);
  };
  visitMembers(value);
  return found;
}

/** Puts back what was marked. What is not there, as in a payload that somebody made up, is left. */
export function restoreMarks(value: unknown, { dates, undefineds }: Marks): void {
  for (const path of undefineds) restore(value, path, undefined);
  for (const path of dates) restore(value, path, new Date(Number.NaN));
}

function restore(value: unknown, path: readonly string[], was: unknown): void {
  let at = value;
  for (const part of path.slice(0, -1)) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, part)) return;
    at = (at as Record<string, unknown>)[part];
  }
  const name = path.at(-1);
  if (typeof at !== 'object' || at === null || name === undefined) return;
  if (Array.isArray(at) && !Object.hasOwn(at, name)) return;
  Object.defineProperty(at, name, { value: was, enumerable: true, configurable: true, writable: true });
}
