import type { InvalidateJob, Version } from '@lockstep/core';
import type { Redis } from 'ioredis';
import { runScript, script } from './script.js';

/** A version that was asked for, with the `mac` of the job that asked. */
export interface Asked {
  readonly version: Version;
  readonly mac: string | undefined;
  /** As it is stored. */
  readonly text: string;
}

/**
 * The highest version that is asked for of each job identity, beside BullMQ's jobs. A job is only the
 * trigger: of jobs of one identity at most one waits, and when it runs it reads the version here, so that
 * a merged job can lower nothing. The version is raised before the job is added, so a job that has
 * already read it is active, and BullMQ then runs the new one after it (`keepLastIfActive`).
 */
export class Versions {
  readonly #key: string;

  constructor(prefix: string, name: string) {
    this.#key = `${prefix}:${name}:lockstep-versions`;
  }

  /** `0`, an unknown version, counts as the highest. */
  async raise(redis: Redis, jobs: ReadonlyMap<string, InvalidateJob>): Promise<void> {
    const values = [...jobs].flatMap(([identity, { mac, version }]) => [
      identity,
      mac === undefined ? String(version) : `${version} ${mac}`,
    ]);
    await runScript(redis, RAISE, [this.#key], values);
  }

  /** `undefined`: none is noted, the job's own stands. */
  async read(redis: Redis, identity: string): Promise<Asked | undefined> {
    const text = await redis.hget(this.#key, identity);
    if (text === null) return undefined;
    const [, digits, mac] = /^(\d{1,16})(?: (\S{1,128}))?$/.exec(text) ?? [];
    // Whoever wrote something else there must not make a job of it; that it was asked for stands.
    const version = Number(digits);
    return Number.isSafeInteger(version) ? { version, mac, text } : { version: 0, mac: undefined, text };
  }

  /** Forgets what a job has taken over, unless it was raised since. */
  async forget(redis: Redis, identity: string, { text }: Asked): Promise<void> {
    await runScript(redis, FORGET, [this.#key], [identity, text]);
  }
}

/** True when the first version takes the second one's place; an unknown one (`0`) counts as the highest. */
export function isHigher(one: Version, other: Version): boolean {
  return other !== 0 && (one === 0 || one > other);
}

// Versions stay text: Lua's numbers print the larger ones in exponents. What is no version makes way.
const RAISE = script(`
local function version(text)
  return tonumber(string.match(text, '^%d+$') or string.match(text, '^(%d+) '))
end
for i = 1, #ARGV, 2 do
  local held = version(redis.call('HGET', KEYS[1], ARGV[i]) or '')
  local asked = version(ARGV[i + 1])
  if not held or (held ~= 0 and (asked == 0 or asked > held)) then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  end
end
return 1`);

const FORGET = script(`
if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then
  return redis.call('HDEL', KEYS[1], ARGV[1])
end
return 0`);
