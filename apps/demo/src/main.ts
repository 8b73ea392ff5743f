import { writeFile } from 'node:fs/promises';
import type { FinalFigures } from './figures.js';
import { type ChosenLoad, chooseLoad } from './load/chosen.js';
import { TraceFormatError } from './load/trace.js';
import type { DemoOptions } from './options.js';
import { UsageError } from './options.js';
import { PageServer } from './page-server/server.js';
import { startProgress, summary } from './progress.js';
import { conclude, ratesFor, runFaults } from './supervisor/conduct.js';
import { Recorder } from './supervisor/recorder.js';
import { Shop } from './supervisor/shop.js';

/** A second Ctrl-C does not wait for anything. */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
/** How long an ordinary end may take, in ms. */
const STOP_MS = 15_000;

/** Runs the demo to its end; resolves with the exit code. */
export async function main(options: DemoOptions): Promise<number> {
  const ending = new AbortController();
  let interrupted = 0;
  for (const signal of SIGNALS) {
    process.on(signal, () => {
      interrupted += 1;
      ending.abort();
      if (interrupted > 1) process.exit(1);
    });
  }
  const say = (message: string) => process.stderr.write(`${message}\n`);
  const load = await chosen(options);
  for (const note of load.notes) say(note);
  const shop = await unlessAborted(Shop.start(options, say), ending.signal);
  if (shop === undefined) return 130;
  shop.notes.push(...load.notes);
  let page: PageServer | undefined;
  try {
    const rates = ratesFor(options, load);
    const recorder = new Recorder(shop);
    if (!options.headless) {
      page = await PageServer.start({ shop, recorder, rates, mix: load.name, port: options.port });
      process.stdout.write(`The shop is open: ${page.url}\n`);
    }
    await shop.load(rates);
    recorder.phase = 'running';
    const progress = startProgress(shop, options.headless ? 2_000 : 10_000);
    const faults = runFaults(shop, ending.signal);
    await lasting(options.seconds, ending.signal);
    const wasInterrupted = interrupted > 0;
    ending.abort();
    await faults;
    progress.stop();
    recorder.phase = 'ending';
    if (!wasInterrupted || options.json !== undefined) await finish(shop, load, options, say);
    recorder.stop();
    return wasInterrupted ? 130 : 0;
  } finally {
    await page?.stop();
    const timer = setTimeout(() => process.exit(1), STOP_MS);
    await shop.stop();
    clearTimeout(timer);
  }
}

async function finish(
  shop: Shop,
  load: ChosenLoad,
  options: DemoOptions,
  say: (message: string) => void,
): Promise<void> {
  const figures = await conclude(shop, load.name);
  say(summary(figures));
  if (options.json !== undefined) await writeJson(options.json, figures);
  else if (options.headless) process.stdout.write(`${JSON.stringify(figures, null, 2)}\n`);
}

async function writeJson(path: string, figures: FinalFigures): Promise<void> {
  await writeFile(path, `${JSON.stringify(figures, null, 2)}\n`);
}

async function chosen(options: DemoOptions): Promise<ChosenLoad> {
  try {
    return await chooseLoad(options);
  } catch (error) {
    if (error instanceof TraceFormatError) throw new UsageError(`--trace: ${error.message}`, 2);
    throw error;
  }
}

/** A start that is interrupted is still brought to its end, so that nothing is left behind. */
async function unlessAborted(starting: Promise<Shop>, signal: AbortSignal): Promise<Shop | undefined> {
  const shop = await starting;
  if (!signal.aborted) return shop;
  await shop.stop();
  return undefined;
}

async function lasting(seconds: number | undefined, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const over = Promise.withResolvers<void>();
  const timer = seconds === undefined ? undefined : setTimeout(over.resolve, seconds * 1_000);
  signal.addEventListener('abort', () => over.resolve(), { once: true });
  // Timers of servers and children keep the process alive.
  await over.promise;
  clearTimeout(timer);
}
