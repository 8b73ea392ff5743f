import { Redis } from 'ioredis';
import { systemMs } from '../checker/clock.js';
import type { Outage } from '../checker/outages.js';

const PING_MS = 100;
/** No answer for this long is an outage, which began with the last one. */
const SILENCE_MS = 400;
/** Outages kept; a checker needs those of the last minutes. */
const MAX_OUTAGES = 200;

/**
 * Notices when the cache can't be reached, and when it came back as another process, whoever broke it: an
 * outage reaches from the last answered ping before it to the first after it.
 */
export class CacheWatch {
  readonly #redis: Redis;
  readonly #onChange: (outages: readonly Outage[]) => void;
  #outages: Outage[] = [];
  #timer: NodeJS.Timeout | undefined;
  #pinging = false;
  #answeredMs = systemMs();
  #runId: string | undefined;

  constructor(url: string, onChange: (outages: readonly Outage[]) => void) {
    this.#onChange = onChange;
    this.#redis = new Redis(url, {
      lazyConnect: true,
      enableOfflineQueue: false,
      commandTimeout: SILENCE_MS,
      connectTimeout: SILENCE_MS,
      maxRetriesPerRequest: 0,
      retryStrategy: () => PING_MS,
    });
    // Being unreachable is what it is there to see.
    this.#redis.on('error', () => undefined);
  }

  async start(): Promise<void> {
    await this.#redis.connect();
    await this.#ping();
    this.#timer = setInterval(() => void this.#turn(), PING_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#redis.disconnect();
  }

  get outages(): readonly Outage[] {
    return this.#outages;
  }

  /** The cache can't be reached right now. */
  get down(): boolean {
    return this.#outages.at(-1)?.toMs === null;
  }

  /** Up to when all outages are known. */
  get knownMs(): number {
    return this.down ? systemMs() : this.#answeredMs;
  }

  /** Time without the cache, in ms, since `sinceMs`. */
  downMs(sinceMs: number): number {
    let sum = 0;
    for (const { fromMs, toMs } of this.#outages)
      sum += Math.max(0, (toMs ?? systemMs()) - Math.max(fromMs, sinceMs));
    return sum;
  }

  async #turn(): Promise<void> {
    if (!this.#pinging) void this.#ping();
    if (!this.down && systemMs() - this.#answeredMs > SILENCE_MS) {
      this.#change([...this.#outages, { fromMs: this.#answeredMs, toMs: null, restarted: false }]);
    }
  }

  async #ping(): Promise<void> {
    this.#pinging = true;
    const sentMs = systemMs();
    try {
      const runId = /^run_id:(\w+)/m.exec(await this.#redis.info('server'))?.[1];
      this.#answered(sentMs, this.#runId !== undefined && runId !== this.#runId);
      this.#runId = runId;
    } catch {
      // Not answered: the next turn sees for how long.
    } finally {
      this.#pinging = false;
    }
  }

  #answered(sentMs: number, restarted: boolean): void {
    const last = this.#outages.at(-1);
    if (last !== undefined && last.toMs === null) {
      this.#change([...this.#outages.slice(0, -1), { ...last, toMs: sentMs, restarted }]);
    } else if (restarted) {
      // Killed and back between two pings.
      this.#change([...this.#outages, { fromMs: this.#answeredMs, toMs: sentMs, restarted }]);
    }
    this.#answeredMs = sentMs;
  }

  #change(outages: Outage[]): void {
    this.#outages = outages.slice(-MAX_OUTAGES);
    this.#onChange(this.#outages);
  }
}
