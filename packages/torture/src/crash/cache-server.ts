import { stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { RedisService } from '@lockstep/dev-services';
import { Redis } from 'ioredis';
import type { CrashSettings } from './settings.js';

/** How old what a machine that fails has on its disk may be at the worst, in ms, by the server's policy. */
const UNSYNCED_MS = { always: 0, everysec: 1_000, no: 30_000, off: 0 } as const;
const LOOK_EVERY_MS = 20;

/** What a server has when it is back: all that it kept, what it had certainly synced, or nothing. */
export type Kept = 'all' | 'synced' | 'none';

/** The cache's server, to be killed and restarted with what it kept. */
export class CacheServer {
  readonly #service: RedisService;
  readonly #unsyncedMs: number;
  #file = '';
  #sizes: { readonly atMs: number; readonly bytes: number }[] = [];
  #looking: NodeJS.Timeout | undefined;

  constructor(
    service: RedisService,
    { appendfsync, powerLoss }: Pick<CrashSettings, 'appendfsync' | 'powerLoss'>,
  ) {
    this.#service = service;
    this.#unsyncedMs = powerLoss ? UNSYNCED_MS[appendfsync] : 0;
  }

  /** Follows the growth of the append-only file, when the failure of a machine is to be simulated. */
  async watch(): Promise<void> {
    if (this.#unsyncedMs === 0) return;
    const client = new Redis(this.#service.url, { maxRetriesPerRequest: 1, commandTimeout: 5_000 });
    const [, folder] = (await client.config('GET', 'dir')) as string[];
    client.disconnect();
    this.#file = join(folder ?? '', 'appendonlydir', 'appendonly.aof.1.incr.aof');
    await this.#look();
    this.#looking = setInterval(() => void this.#look(), LOOK_EVERY_MS);
  }

  async #look(): Promise<void> {
    const size = await stat(this.#file).catch(() => undefined);
    if (size !== undefined) this.#sizes.push({ atMs: performance.now(), bytes: size.size });
  }

  async restart(kept: Kept = 'synced', awayMs = 0): Promise<void> {
    const killedAtMs = performance.now();
    await this.#service.process?.kill();
    if (kept === 'synced' && this.#unsyncedMs > 0) {
      const synced =
        this.#sizes.findLast(({ atMs }) => atMs <= killedAtMs - this.#unsyncedMs) ?? this.#sizes[0];
      if (synced !== undefined) await truncate(this.#file, synced.bytes);
    }
    await pause(awayMs);
    await this.#service.process?.restart({ keepData: kept !== 'none' });
    // Data that it has loaded counts as being on its disk.
    this.#sizes = [];
    if (this.#unsyncedMs > 0) await this.#look();
  }

  close(): void {
    clearInterval(this.#looking);
  }
}
