import { type Option, option } from '@lockstep/core/kit';

/** The field that holds a row's version unless set. */
export const DEFAULT_VERSION_FIELD = '_lockstep';

/** A top-level field that needs no escaping in paths and expressions. */
export const FIELD_NAME: Option<string> = {
  ...option.is(
    'the name of a top-level field, by letters, digits, "_" and "-"',
    (value) => typeof value === 'string' && /^[A-Za-z_][A-Za-z0-9_-]{0,127}$/.test(value),
  ),
  shown: true,
};

export const COLLECTION_NAME: Option<string> = {
  ...option.is(
    'the name of a collection, of 1 to 200 characters',
    (value) =>
      typeof value === 'string' &&
      value.length > 0 &&
      value.length <= 200 &&
      !value.includes('$') &&
      !value.includes('\0') &&
      !value.startsWith('system.'),
  ),
  shown: true,
};

/** A row's name among those of all collections. */
export function rowName(source: string, key: string): string {
  return JSON.stringify([source, key]);
}
