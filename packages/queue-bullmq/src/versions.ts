import { createHash } from 'node:crypto';
import type { Version } from '@lockstep/core';
import type { Redis } from 'ioredis';

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
  async raise(redis: Redis, versions: ReadonlyMap<string, Version>): Promise<void> {
    await run(
      redis,
      RAISE,
      this.#key,
      [...versions].flatMap(([identity, version]) => [identity, String(version)]),
    );
  }

  /** `undefined`: none is noted, the job's own stands. */
  async read(redis: Redis, identity: string): Promise<Version | undefined> {
    const found = await redis.hget(this.#key, identity);
    return found === null ? undefined : Number(found);
  }

  /** Forgets what a job has taken over, unless it was raised since. */
  async settle(redis: Redis, identity: string, version: Version): Promise<void> {
    await run(redis, SETTLE, this.#key, [identity, String(version)]);
  }
}

/** The higher of two versions; an unknown one (`0`) counts as the highest. */
export function higher(one: Version, other: Version): Version {
  return one === 0 || other === 0 ? 0 : Math.max(one, other);
}

interface Script {
  readonly text: string;
  readonly sha: string;
}

function script(text: string): Script {
  return { text, sha: createHash('sha1').update(text).digest('hex') };
}

// Versions stay text: Lua's numbers print the larger ones in exponents.
const RAISE = script(`
for i = 1, #ARGV, 2 do
  local held = redis.call('HGET', KEYS[1], ARGV[i])
  if not held or (held ~= '0' and (ARGV[i + 1] == '0' or tonumber(ARGV[i + 1]) > tonumber(held))) then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  end
end
return 1`);

const SETTLE = script(`
if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then
  return redis.call('HDEL', KEYS[1], ARGV[1])
end
return 0`);

async function run(
  redis: Redis,
  { sha, text }: Script,
  key: string,
  values: readonly string[],
): Promise<void> {
  try {
    await redis.evalsha(sha, 1, key, ...values);
  } catch (error) {
    if (!(error instanceof Error && error.message.startsWith('NOSCRIPT'))) throw error;
    await redis.eval(text, 1, key, ...values);
  }
}
