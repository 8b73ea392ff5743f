import { type Outage, systemMs } from '@lockstep/torture';

const PING_MS = 100;
/** No answer for this long is an outage, which began with the last one. */
export const SILENCE_MS = 400;
/** Outages kept; a checker needs those of the last minutes. */
const MAX_OUTAGES = 200;

/** Somebody to ask whether a server is there. */
export interface Pinger {
  connect(): Promise<void>;
  /**
   * Rejects within about `SILENCE_MS` when there is no answer. Resolves with what the server's process is
   * called, where another process may know less than the one before; otherwise with `undefined`.
   */
  ping(): Promise<string | undefined>;
  close(): Promise<void>;
}

/**
 * Notices when a server can't be reached, and when it came back as another process, whoever broke it: an
 * outage reaches from the last answered ping before it to the first after it.
 */
export class OutageWatch {
  readonly #pinger: Pinger;
  readonly #onChange: () => void;
  #outages: Outage[] = [];
  #timer: NodeJS.Timeout | undefined;
  #pinging = false;
  #answeredMs = systemMs();
  #process: string | undefined;

  constructor(pinger: Pinger, onChange: () => void) {
    this.#pinger = pinger;
    this.#onChange = onChange;
  }

  async start(): Promise<void> {
    await this.#pinger.connect();
    await this.#ping();
    this.#timer = setInterval(() => void this.#turn(), PING_MS);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#pinger.close();
  }

  get outages(): readonly Outage[] {
    return this.#outages;
  }

  /** The server can't be reached right now. */
  get down(): boolean {
    return this.#outages.at(-1)?.toMs === null;
  }

  /** Up to when all outages are known. */
  get knownMs(): number {
    return this.down ? systemMs() : this.#answeredMs;
  }

  /** Time without the server, in ms, since `sinceMs`. */
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
      const process = await this.#pinger.ping();
      this.#answered(sentMs, this.#process !== undefined && process !== this.#process);
      this.#process = process;
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
    this.#onChange();
  }
}
