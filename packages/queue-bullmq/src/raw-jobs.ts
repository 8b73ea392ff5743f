import type { Redis } from 'ioredis';
import { runScript, script } from './script.js';

/** The length of the text that is shown of an unreadable job: enough to see what it is. */
const MAX_RAW_BYTES = 2_048;
const UNREADABLE = 'it is no job: it can not be read';

export interface RawJob {
  readonly data: string;
  readonly reason: string;
  readonly attempts: number;
  readonly failedAtMs: number;
}

/** True for what BullMQ throws when a job's fields are no JSON, of another form, or not in a hash. */
export function isUnreadable(error: unknown): boolean {
  if (error instanceof SyntaxError || error instanceof TypeError) return true;
  return error instanceof Error && error.message.includes('WRONGTYPE');
}

/** The beginnings of a job's fields, whatever they hold: BullMQ could not read it, or it is no job. */
export async function readRaw(redis: Redis, key: string): Promise<RawJob> {
  const reply = (await runScript(redis, READ, [key], [String(MAX_RAW_BYTES)])) as string[];
  const [data = '', reason = '', finishedOn = '', attempts = ''] = reply;
  return { data, reason, attempts: whole(attempts), failedAtMs: whole(finishedOn) };
}

/** Forgets a dead letter that BullMQ's own removal would have to read first. */
export async function removeRaw(redis: Redis, toKey: (name: string) => string, id: string): Promise<void> {
  const keys = [toKey('failed'), toKey(id), `${toKey(id)}:logs`];
  await runScript(redis, REMOVE, keys, [id, toKey('de:')]);
}

/** The beginning of a text that others wrote, without control characters. */
export function rawText(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must go
  return text.slice(0, MAX_RAW_BYTES).replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, '\ufffd');
}

/** Makes a job that is under way, and that nobody can read, a dead letter: it would come back for ever. */
export async function setAside(redis: Redis, toKey: (name: string) => string, id: string): Promise<void> {
  const keys = [toKey('active'), toKey('failed'), toKey('stalled'), toKey(id), `${toKey(id)}:lock`];
  await runScript(redis, SET_ASIDE, keys, [id, toKey('de:'), String(Date.now()), UNREADABLE]);
}

function whole(text: string): number {
  return /^\d{1,15}$/.test(text) ? Number(text) : 0;
}

// A key of another type holds no fields.
const READ = script(`
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then return {'', 'it is no job: nothing is there'} end
local found = {}
for i, field in ipairs({'data', 'failedReason', 'finishedOn', 'atm'}) do
  found[i] = string.sub(redis.call('HGET', KEYS[1], field) or '', 1, tonumber(ARGV[1]))
end
return found`);

// Otherwise no job of its identity would be taken any more.
const FORGET_IDENTITY = `
local function forgetIdentity(key, prefix, id)
  if redis.call('TYPE', key).ok ~= 'hash' then return end
  local identity = redis.call('HGET', key, 'deid')
  if not identity then return end
  local holder = prefix .. identity
  if redis.call('TYPE', holder).ok == 'string' and redis.call('GET', holder) == id then redis.call('DEL', holder) end
end`;

const REMOVE = script(`${FORGET_IDENTITY}
forgetIdentity(KEYS[2], ARGV[2], ARGV[1])
redis.call('UNLINK', KEYS[2], KEYS[3])
return redis.call('ZREM', KEYS[1], ARGV[1])`);

const SET_ASIDE = script(`${FORGET_IDENTITY}
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then return 0 end
redis.call('SREM', KEYS[3], ARGV[1])
redis.call('UNLINK', KEYS[5])
forgetIdentity(KEYS[4], ARGV[2], ARGV[1])
if redis.call('TYPE', KEYS[4]).ok == 'hash' then
  redis.call('HSET', KEYS[4], 'failedReason', ARGV[4], 'finishedOn', ARGV[3])
end
return redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])`);
