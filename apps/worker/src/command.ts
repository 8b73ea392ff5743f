import { readFileSync } from 'node:fs';
import { InvalidOptionError } from '@lockstep/core';
import { option, optionValue } from '@lockstep/core/kit';
import { Command, CommanderError } from 'commander';
import { configFromEnvironment, VARIABLES } from './config/environment.js';
import { configFromFile } from './config/file.js';
import type { WorkerConfig } from './define.js';
import { LOG_LEVELS, workerLogger } from './log.js';
import { WORKER } from './settings.js';
import { startWorker } from './worker.js';

interface Flags {
  readonly config?: string;
  readonly host?: string;
  readonly port?: string;
  readonly check?: boolean;
  readonly allowQueueEviction?: boolean;
}

const USAGE = 2;
const FAILED = 1;
/** A check does no work that a drain would have to wait for. */
const CHECK_SHUTDOWN_MS = 2_000;

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
    ...(flags.port === undefined ? {} : { port: portFlag(flags.port) }),
    ...(flags.check ? { port: 0, metricsPort: 0, shutdownTimeoutMs: CHECK_SHUTDOWN_MS } : {}),
    ...(flags.allowQueueEviction ? { allowQueueEviction: true } : {}),
  };
}

function portFlag(text: string): number {
  if (/^\d+$/.test(text)) return optionValue(Number(text), WORKER.port, '--port');
  throw new InvalidOptionError('--port', `must be a whole number, got "${text}"`);
}

async function run(flags: Flags): Promise<void> {
  const asked = (process.env['LOCKSTEP_LOG_LEVEL'] || undefined) as (typeof LOG_LEVELS)[number] | undefined;
  const fallback = flags.check ? 'error' : 'info';
  const logger = workerLogger(optionValue(asked, option.choice(LOG_LEVELS, fallback), 'LOCKSTEP_LOG_LEVEL'));
  const worker = await startWorker({ ...(await configuration(flags)), logger });
  if (flags.check) {
    const status = await worker.status();
    console.log(JSON.stringify(status, null, 2));
    // What does not end in time is a server that does not answer, which the status says.
    await worker.close().catch(() => undefined);
    process.exit(status.ready ? 0 : FAILED);
  }
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
