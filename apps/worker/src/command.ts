import { readFileSync } from 'node:fs';
import { InvalidOptionError } from '@lockstep/core';
import { Deadline, type Option, option, optionValue } from '@lockstep/core/kit';
import { Command, CommanderError } from 'commander';
import type { Logger } from 'pino';
import { configFromEnvironment, VARIABLES } from './config/environment.js';
import { configFromFile } from './config/file.js';
import type { WorkerConfig } from './define.js';
import type { WorkerStatus } from './health.js';
import { LOG_LEVELS, workerLogger } from './log.js';
import { WORKER } from './settings.js';
import { startWorker, type Worker } from './worker.js';

interface Flags {
  readonly config?: string;
  readonly host?: string;
  readonly port?: string;
  readonly check?: boolean;
  readonly timeout: string;
  readonly allowQueueEviction?: boolean;
}

const USAGE = 2;
const FAILED = 1;
/** What a check may take: a server that hangs is named after two seconds, a configuration that hangs at the end. */
const CHECK_MS = 10_000;
/** A check does no work that a drain would have to wait for, */
const CHECK_SHUTDOWN_MS = 2_000;
/** and a server that did not answer will not answer now. */
const SILENT_SHUTDOWN_MS = 250;
const CHECK_TIMEOUT = option.integer(CHECK_MS, 1, 3_600_000);

function program(name: string): Command {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  const variables = Object.entries(VARIABLES).map(
    ([variable, meaning]) => `  ${variable.padEnd(38)}${meaning}`,
  );
  return new Command(name)
    .description('Keeps caches in step with their databases: relays change feeds, retries invalidations.')
    .version(version)
    .option(
      '--config <file>',
      'TypeScript or JavaScript that exports defineWorker({ lockstep, … }) as its default',
    )
    .option('--host <host>', 'the address that the dashboard listens on')
    .option('--port <port>', "the dashboard's port; 0: any free one")
    .option('--check', 'start, ask everything for its state, print it, and end')
    .option('--timeout <ms>', 'with --check: the most that it may take', String(CHECK_MS))
    .option('--allow-queue-eviction', "start although the queue's Redis may evict jobs")
    .addHelpText('after', `\nWithout --config, the environment says it all:\n${variables.join('\n')}\n`)
    .addHelpText(
      'after',
      'The dashboard shows dead letters; /health/live, /health/ready and /metrics have a port of their own.',
    )
    .allowExcessArguments(false)
    .exitOverride();
}

async function configuration(flags: Flags): Promise<WorkerConfig> {
  const config =
    flags.config === undefined
      ? await configFromEnvironment(process.env)
      : await configFromFile(flags.config);
  return {
    ...config,
    ...(flags.host === undefined ? {} : { host: flags.host }),
    ...(flags.port === undefined ? {} : { port: numberFlag('--port', flags.port, WORKER.port) }),
    ...(flags.check ? { port: 0, metricsPort: 0, shutdownTimeoutMs: CHECK_SHUTDOWN_MS } : {}),
    ...(flags.allowQueueEviction ? { allowQueueEviction: true } : {}),
  };
}

function numberFlag(flag: string, text: string, known: Option<number, number>): number {
  if (/^\d+$/.test(text)) return optionValue(Number(text), known, flag);
  throw new InvalidOptionError(flag, `must be a whole number, got "${text}"`);
}

async function run(flags: Flags): Promise<void> {
  const asked = (process.env['LOCKSTEP_LOG_LEVEL'] || undefined) as (typeof LOG_LEVELS)[number] | undefined;
  const fallback = flags.check ? 'error' : 'info';
  const logger = workerLogger(optionValue(asked, option.choice(LOG_LEVELS, fallback), 'LOCKSTEP_LOG_LEVEL'));
  if (flags.check) process.exit(await check(flags, logger));
  const worker = await startWorker({ ...(await configuration(flags)), logger });
  let stopping = false;
  const stop = (signal: NodeJS.Signals): void => {
    if (stopping) process.exit(FAILED);
    stopping = true;
    logger.info({ signal }, 'draining; once more to end at once');
    worker.close().then(
      () => process.exit(0),
      (error: unknown) => {
        logger.error({ err: error }, 'did not drain in time');
        process.exit(FAILED);
      },
    );
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
}

/** Ends in time, whatever hangs: a server, or a function of the configuration. */
async function check(flags: Flags, logger: Logger): Promise<number> {
  const timeoutMs = numberFlag('--timeout', flags.timeout, CHECK_TIMEOUT);
  const late = (): Error =>
    new Error(`the check did not end within ${timeoutMs} ms: does the configuration wait for a server?`);
  const deadline = new Deadline({ timeoutMs, late, keepsAlive: true });
  const work = async (): Promise<[Worker, WorkerStatus]> => {
    const worker = await startWorker({ ...(await configuration(flags)), logger });
    return [worker, await worker.status()];
  };
  const [worker, status] = await deadline.bound(work());
  console.log(JSON.stringify(status, null, 2));
  const closeMs = status.ready ? CHECK_SHUTDOWN_MS : SILENT_SHUTDOWN_MS;
  // A server that does not answer keeps the worker from closing; the status says so already.
  await deadline
    .narrowed(closeMs)
    .bound(worker.close())
    .catch(() => undefined);
  return status.ready ? 0 : FAILED;
}

/** By its code: a configuration may have brought a copy of the core of its own. */
function isInvalidOption(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'LOCKSTEP_INVALID_OPTION';
}

/** Runs the command line under the name that it was called by; what goes wrong is one line on standard error. */
export async function runWorker(
  args: readonly string[] = process.argv.slice(2),
  name = 'lockstep-worker',
): Promise<void> {
  try {
    await run(program(name).parse(args, { from: 'user' }).opts<Flags>());
  } catch (error) {
    if (error instanceof CommanderError) process.exit(error.exitCode === 0 ? 0 : USAGE);
    console.error(`${name}: ${error instanceof Error ? error.message : String(error)}`);
    process.exit(isInvalidOption(error) ? USAGE : FAILED);
  }
}
