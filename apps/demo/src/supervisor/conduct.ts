import { systemClock } from '@lockstep/core';
import { callerSleep } from '@lockstep/core/kit';
import { seededRandom, systemMs } from '@lockstep/torture';
import type { AuditReport } from '../application/audit.js';
import { planFaults } from '../faults/schedule.js';
import { type FinalFigures, finalFigures } from '../figures.js';
import type { Rates } from '../messages.js';
import type { DemoOptions } from '../options.js';
import type { Shop } from './shop.js';

/** How long what is left in feed and queue may take after the load, in ms. */
const DRAIN_MS = 20_000;
/** Without an end, faults are planned for this long at a time, in ms. */
const ENDLESS_PLAN_MS = 60_000;

/** Runs the faults of the options beside the load until the signal aborts. */
export async function runFaults(shop: Shop, signal: AbortSignal): Promise<void> {
  const { faults: names, seconds, seed, foreignWrites } = shop.options;
  const planMs = seconds === undefined ? ENDLESS_PLAN_MS : seconds * 1_000;
  const foreign =
    names.includes('foreign-write') && foreignWrites > 0
      ? setInterval(() => void shop.faults.foreignWrite().catch(() => undefined), 1_000 / foreignWrites)
      : undefined;
  try {
    for (let turn = 0; !signal.aborted; turn += 1) {
      const startMs = systemMs();
      const plan = planFaults(names, planMs, seededRandom(seed, 800_000 + turn));
      for (const fault of plan) {
        await waitUntil(startMs + fault.atMs, signal);
        if (signal.aborted) return;
        // One that finds Redis broken already (a button was pressed) is left out.
        void shop.faults.injectInLine(fault).catch(() => undefined);
      }
      await waitUntil(startMs + planMs, signal);
    }
  } finally {
    clearInterval(foreign);
  }
}

/** Ends the load, waits for what is under way, judges the last reads and compares cache and store. */
export async function conclude(shop: Shop, mixName: string): Promise<FinalFigures> {
  const { options, faults, applications, watch, storeWatch } = shop;
  await faults.settle();
  await applications.unload();
  const endMs = systemMs();
  const reached = await holds(
    () => shop.outagesKnownMs > endMs && watch?.down !== true && storeWatch?.down !== true,
  );
  if (!reached) shop.notes.push('cache or store could not be reached after the load');
  const feedDrained = options.engine === 'naive' || (await drained(shop));
  if (!feedDrained) shop.notes.push(`feed or queue were not empty ${DRAIN_MS / 1_000} s after the load`);
  await applications.judge(endMs);
  const audit: AuditReport = await applications.audit();
  return finalFigures(shop.figures, audit, {
    seconds: (endMs - shop.loadSinceMs) / 1_000,
    feedDrained,
    unexpectedExits: shop.unexpectedExits,
    seed: options.seed,
    engine: options.engine,
    store: options.store,
    mix: mixName,
    options,
    versions: shop.serverVersions,
    notes: shop.notes,
  });
}

async function drained(shop: Shop): Promise<boolean> {
  return holds(() => {
    const feed = shop.feed?.value;
    const queue = shop.queue === undefined ? { waiting: 0, active: 0, delayed: 0 } : shop.queue.value;
    if (feed == null || queue === null) return false;
    return feed.pending === 0 && queue.waiting + queue.active + queue.delayed === 0;
  });
}

/** Waits until a condition has held at two looks a poll apart, since what it reads is polled. */
async function holds(condition: () => boolean): Promise<boolean> {
  const deadline = performance.now() + DRAIN_MS;
  let looks = 0;
  while (performance.now() < deadline) {
    looks = condition() ? looks + 1 : 0;
    if (looks >= 8) return true;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return false;
}

async function waitUntil(atMs: number, signal: AbortSignal): Promise<void> {
  await callerSleep(systemClock, Math.max(0, atMs - systemMs()), signal);
}

/** The rates of a run: the options', or what mix or trace say, or the classic scenario's. */
export function ratesFor(
  options: DemoOptions,
  source: { readonly readShare: number; readonly perSecond: number },
): Rates {
  const readsPerSecond = source.perSecond * source.readShare;
  return {
    readsPerSecond: options.reads ?? readsPerSecond,
    writesPerSecond: options.writes ?? source.perSecond - readsPerSecond,
  };
}
