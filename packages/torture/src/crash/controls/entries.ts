import { Redis } from 'ioredis';

/** An entry's version, in its text: the sixteen digits from the third character on. */
const RENUMBER = `
local text = redis.call('GETRANGE', KEYS[1], 2, 17)
if tonumber(text) ~= tonumber(ARGV[1]) then return ARGV[1] end
local version = ARGV[2]
if version == 'clock' then
  local time = redis.call('TIME')
  version = time[1] * 1000000 + time[2]
  version = version - version % 2 + 1
end
redis.call('SETRANGE', KEYS[1], 2, string.format('%016.0f', version))
return string.format('%.0f', version)`;

/** Breaks entries behind the adapter's back: each call is one command on the server. */
export class Entries {
  readonly #redis: Redis;

  constructor(url: string) {
    this.#redis = new Redis(url, { maxRetriesPerRequest: 0, commandTimeout: 1_000 });
    this.#redis.on('error', () => undefined);
  }

  /** Gives the entry another version, if it still holds the one; resolves with what it then has. */
  async renumber(key: string, version: number, to: number | 'clock'): Promise<number> {
    return Number(await this.#redis.eval(RENUMBER, 1, key, String(version), String(to)));
  }

  async expire(key: string, ms: number): Promise<void> {
    await this.#redis.pexpire(key, ms);
  }

  close(): void {
    this.#redis.disconnect();
  }
}
