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

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
/** As a shell has it. */
const INTERRUPTED = 130;
/** A second signal this long after the first asks for an end at once, in ms. */
const INSIST_MS = 1_500;
/** How long an ordinary end may take, in ms. */
const STOP_MS = 15_000;

/** Runs the demo to its end; resolves with the exit code. */
export async function main(options: DemoOptions): Promise<number> {
  const ending = new AbortController();
  let interruptedMs = 0;
  for (const signal of SIGNALS) {
    process.on(signal, () => {
      // Somebody who insists does not wait: the children end with this process. A terminal and a package
      // manager that both pass one Ctrl-C on are not somebody who insists.
      if (interruptedMs > 0 && performance.now() - interruptedMs > INSIST_MS) process.exit(1);
      interruptedMs ||= performance.now();
      ending.abort();
    });
  }
  const say = (message: string) => process.stderr.write(`${message}\n`);
  const load = await chosen(options);
  for (const note of load.notes) say(note);
  // Before anything else is started: a port that is taken is known at once.
  const page = options.headless ? undefined : await PageServer.open(options.port, options.store);
  let shop: Shop | undefined;
  try {
    shop = await Shop.start(options, say);
    if (ending.signal.aborted) return INTERRUPTED;
    shop.notes.push(...load.notes);
    const rates = ratesFor(options, load);
    const recorder = new Recorder(shop);
    if (page !== undefined) {
      page.show({ shop, recorder, rates, mix: load.name });
      process.stdout.write(`The shop is open: ${page.url}\n`);
    }
    await shop.load(rates);
    recorder.phase = 'running';
    const progress = startProgress(shop, options.headless ? 2_000 : 10_000);
    const faults = runFaults(shop, ending.signal);
    await lasting(options.seconds, ending.signal);
    const wasInterrupted = interruptedMs > 0;
    ending.abort();
    await faults;
    progress.stop();
    recorder.phase = 'ending';
    if (!wasInterrupted || options.json !== undefined) await finish(shop, load, options, say);
    recorder.stop();
    return wasInterrupted ? INTERRUPTED : 0;
  } finally {
    const timer = setTimeout(() => process.exit(1), STOP_MS);
    await page?.stop();
    await shop?.stop();
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

async function lasting(seconds: number | undefined, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const over = Promise.withResolvers<void>();
  const timer = seconds === undefined ? undefined : setTimeout(over.resolve, seconds * 1_000);
  signal.addEventListener('abort', () => over.resolve(), { once: true });
  // Timers of servers and children keep the process alive.
  await over.promise;
  clearTimeout(timer);
}
