import { InvalidOptionError } from '@lockstep/core';

/** The field that holds a row's version unless set. */
export const DEFAULT_VERSION_FIELD = '_lockstep';

/** Top-level field names that need no escaping in paths and expressions. */
const FIELD_NAME = /^[A-Za-z_][A-Za-z0-9_-]{0,127}$/;

/** Throws `InvalidOptionError` unless `value` names a top-level field. */
export function fieldOption(value: unknown, fallback: string, option: string): string {
  if (value === undefined) return fallback;
  if (typeof value !== 'string' || !FIELD_NAME.test(value)) {
    throw new InvalidOptionError(
      option,
      `must name a top-level field by letters, digits, "_" and "-", got ${String(value)}`,
    );
  }
  return value;
}

/** Throws `InvalidOptionError` unless `value` can name a collection. */
export function collectionNameOption(value: unknown, fallback: string | undefined, option: string): string {
  if (value === undefined && fallback !== undefined) return fallback;
  if (typeof value !== 'string' || value.length === 0 || value.length > 200) {
    throw new InvalidOptionError(option, `must be a string of 1 to 200 characters, got ${String(value)}`);
  }
  if (value.includes('$') || value.includes('\0') || value.startsWith('system.')) {
    throw new InvalidOptionError(option, `"${value}" can't name a collection`);
  }
  return value;
}
