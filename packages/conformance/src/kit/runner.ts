import { Deadline } from '@lockstep/core/kit';

/** The part of a test runner that the kits use: vitest, node:test, Jest, Mocha and others have it. */
export interface Runner {
  readonly describe: (name: string, body: () => void) => unknown;
  /** `timeoutMs` is passed along for runners that take it; the kits bound their cases themselves, too. */
  readonly test: (name: string, body: () => Promise<void>, timeoutMs?: number) => unknown;
}

/** How long cases may wait, and how much they try. */
export interface KitOptions extends Runner {
  /** The name of the outer `describe`. */
  readonly name?: string;
  /** The bound of one case, in ms. @defaultValue 60_000 */
  readonly caseTimeoutMs?: number;
  /** How long a case waits for something that the adapter does on its own, in ms. @defaultValue 30_000 */
  readonly deadlineMs?: number;
}

/** The waits that every case gets. */
export interface Waits {
  readonly deadlineMs: number;
  /** Polls until `check` gives something other than `undefined` or `false`. Rejects at the deadline, naming `what`. */
  eventually<T>(
    what: string,
    check: () => Promise<T | undefined | false> | T | undefined | false,
  ): Promise<T>;
  /** Lets this much of the adapter's time pass, in ms. */
  pass(ms: number): Promise<void>;
}

/** The pause between two polls, in ms. */
const POLL_MS = 5;

export function waits(deadlineMs: number, advance?: (ms: number) => unknown): Waits {
  async function pass(ms: number): Promise<void> {
    await advance?.(ms);
    // An injected clock has moved already; what fell due needs a turn of the event loop, no time.
    if (advance !== undefined) await new Promise(setImmediate);
    else await new Promise((resolve) => setTimeout(resolve, ms));
  }
  return {
    deadlineMs,
    pass,
    async eventually(what, check) {
      const until = performance.now() + deadlineMs;
      for (;;) {
        const found = await check();
        if (found !== undefined && found !== false) return found;
        if (performance.now() > until) throw new Error(`not within ${deadlineMs} ms: ${what}`);
        await pass(POLL_MS);
      }
    },
  };
}

/** Rejects when `work` takes longer than `timeoutMs`, so that a hanging adapter fails its case by name. */
export function bounded<T>(what: string, timeoutMs: number, work: Promise<T>): Promise<T> {
  const late = (): Error => new Error(`${what}: still not over after ${timeoutMs} ms`);
  return new Deadline({ timeoutMs, late, keepsAlive: true }).bound(work);
}

/** Registers one kit's cases: each on a fresh adapter, disposed of at its end whatever happened. */
export function caseRunner<Context extends { dispose(): Promise<void> }>(
  options: KitOptions,
  create: () => Promise<Context>,
): (name: string, body: (context: Context) => Promise<void>) => void {
  const caseTimeoutMs = options.caseTimeoutMs ?? 60_000;
  return (name, body) => {
    options.test(
      name,
      async () => {
        const context = await bounded('creating the adapter', caseTimeoutMs, create());
        try {
          await bounded(`the case "${name}"`, caseTimeoutMs, body(context));
        } finally {
          await bounded('disposing of the adapter', caseTimeoutMs, context.dispose());
        }
      },
      3 * caseTimeoutMs,
    );
  };
}
