import { option } from './options.js';

/** More sets, or properties of one, are a mistake. */
const MAX_SETS = 16;
const MAX_PROPERTIES = 8;
const MAX_NAME = 128;

/** An option that names sets of properties: a property, or a list of them, each once. */
export const DECLARED_SETS = option.is<readonly (string | readonly string[])[]>(
  `a list of at most ${MAX_SETS} properties, or lists of up to ${MAX_PROPERTIES}`,
  (sets) => Array.isArray(sets) && sets.length <= MAX_SETS && sets.every(isSet),
);

function isSet(set: unknown): boolean {
  const parts: unknown = typeof set === 'string' ? [set] : set;
  if (!Array.isArray(parts) || parts.length === 0 || parts.length > MAX_PROPERTIES) return false;
  const isName = (part: unknown): boolean =>
    typeof part === 'string' && part !== '' && part.length <= MAX_NAME && part.isWellFormed();
  return parts.every(isName) && new Set(parts).size === parts.length;
}
