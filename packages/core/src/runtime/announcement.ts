import type { Announcement } from '../contracts/fleet.js';

/** Changes with each change that an earlier reader would misread; it passes by what it does not know. */
const FORMAT = 1;
/** A longer one is neither written nor read. */
const MAX_TEXT_LENGTH = 32_768;
const MAX_STRING_LENGTH = 300;
const MAX_ITEMS = 64;
const MAX_DEPTH = 6;

/** The text of a notice. Facts that make it too long are left out, then parts, the last ones first. */
export function announcementText(announcement: Announcement): string {
  const { parts } = announcement;
  for (let kept = parts.length; kept >= 0; kept = kept > 0 ? Math.floor(kept / 2) : -1) {
    const omitted = announcement.omitted + parts.length - kept;
    const whole = { format: FORMAT, ...announcement, parts: parts.slice(0, kept), omitted };
    for (const facts of [announcement.facts, {}]) {
      const text = JSON.stringify(bounded({ ...whole, facts }, 0));
      if (text.length <= MAX_TEXT_LENGTH) return text;
    }
  }
  return '';
}

/**
 * The announcement that a text holds; `undefined` for anything else, a later format included. Whoever may write to the
 * cache may have written it: every length is bounded, and every field that is shown has its type.
 */
export function parseAnnouncement(text: string): Announcement | undefined {
  if (text.length > MAX_TEXT_LENGTH) return undefined;
  let found: unknown;
  try {
    found = bounded(JSON.parse(text), 0);
  } catch {
    return undefined;
  }
  return fits(found, ANNOUNCEMENT) ? (found as unknown as Announcement) : undefined;
}

/** A copy in which nothing is longer or deeper than it may be. */
function bounded(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return value.slice(0, MAX_STRING_LENGTH).toWellFormed();
  if (typeof value === 'number' && !Number.isFinite(value)) return 0;
  if (typeof value !== 'object' || value === null) return value;
  if (depth > MAX_DEPTH) return null;
  if (Array.isArray(value)) return value.slice(0, MAX_ITEMS).map((each) => bounded(each, depth + 1));
  const fields = Object.entries(value).slice(0, MAX_ITEMS);
  return Object.fromEntries(fields.map(([name, field]) => [name.slice(0, 64), bounded(field, depth + 1)]));
}

type Form =
  | 'string'
  | 'number'
  | 'boolean'
  | ((value: unknown) => boolean)
  | { readonly [field: string]: Form };

const list =
  (form: Form): Form =>
  (value) =>
    Array.isArray(value) && value.every((each) => fits(each, form));
const recordOf =
  (form: Form): Form =>
  (value) =>
    typeof value === 'object' && value !== null && Object.values(value).every((each) => fits(each, form));
const oneOf =
  (...choices: readonly unknown[]): Form =>
  (value) =>
    choices.includes(value);
const either =
  (...forms: readonly Form[]): Form =>
  (value) =>
    forms.some((form) => fits(value, form));

const NEAR: Form = {
  items: 'number',
  bytes: 'number',
  hits: 'number',
  misses: 'number',
  dropped: 'number',
  live: 'boolean',
};

const PART: Form = {
  kind: oneOf('collection', 'view'),
  name: 'string',
  settings: recordOf(either('string', 'number', 'boolean')),
  figures: {
    hits: 'number',
    misses: recordOf('number'),
    loads: 'number',
    loadedRows: 'number',
    writes: recordOf('number'),
  },
  buffer: oneOf(undefined, 'synchronous', 'buffering', 'draining'),
  near: either(oneOf(undefined), NEAR),
};

const RELAY: Form = {
  running: 'boolean',
  handled: 'number',
  floored: 'number',
  queued: 'number',
  lagMs: { p50: 'number', p99: 'number', p999: 'number', max: 'number' },
};

const ANNOUNCEMENT: Form = {
  format: oneOf(FORMAT),
  id: 'string',
  name: 'string',
  host: 'string',
  pid: 'number',
  node: 'string',
  startedAtMs: 'number',
  atMs: 'number',
  intervalMs: 'number',
  cache: {
    name: 'string',
    enabled: 'boolean',
    switchedOff: list(oneOf('process', 'fleet')),
    breaker: oneOf('open', 'half-open', 'closed'),
    cause: either(oneOf(undefined), 'string'),
  },
  queue: either(oneOf(null), 'string'),
  relay: either(oneOf(null), RELAY),
  parts: list(PART),
  omitted: 'number',
  facts: recordOf(() => true),
};

function fits(value: unknown, form: Form): boolean {
  if (typeof form === 'string') return typeof value === form;
  if (typeof form === 'function') return form(value);
  if (typeof value !== 'object' || value === null) return false;
  return Object.entries(form).every(([name, field]) =>
    fits((value as Readonly<Record<string, unknown>>)[name], field),
  );
}
