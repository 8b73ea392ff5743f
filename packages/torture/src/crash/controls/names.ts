/** Each takes one rule of the buffer out, by a wrapper around an adapter. */
export const CONTROLS = {
  'flush-without-version': 'a flush writes the row whatever version it has',
  'flush-restamps': 'a flush compares versions, then takes a new one from the store',
  'flushed-clears-any': 'after a flush the entry loses its mark, whatever version it holds by then',
  'put-clears-unflushed': 'a synchronous put takes the mark away',
  'buffer-on-empty': 'a write is buffered on a hole or an empty key',
  'clock-only-version': "a buffered write's version is the clock, even below what the entry holds",
  evictable: 'an unflushed entry expires',
  'shared-numbers': 'buffered versions are even, as the store’s are',
  'late-command': 'a buffered command has no deadline',
  'no-skew-wait': 'a write whose cache update is not confirmed does not wait, and is not stamped ahead',
} as const;

export type ControlName = keyof typeof CONTROLS;

export function isControl(name: string): name is ControlName {
  return Object.hasOwn(CONTROLS, name);
}
