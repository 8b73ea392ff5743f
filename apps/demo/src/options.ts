import { accessSync, constants, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { FAULT_NAMES, type FaultName, faultsOf, isFaultName, MONGO_FAULTS } from './faults/names.js';
import type { EngineName } from './messages.js';
import { STORE_KINDS, type StoreKind } from './stores/store.js';

/** The options of the command line. */
export interface DemoOptions {
  readonly port: number;
  readonly processes: number;
  readonly workers: number;
  readonly products: number;
  /** Per second; `undefined`: what the mix or the trace has. */
  readonly reads: number | undefined;
  readonly writes: number | undefined;
  readonly mix: string;
  readonly trace: string | undefined;
  readonly zipf: number | undefined;
  readonly faults: readonly FaultName[];
  readonly foreignWrites: number;
  readonly headless: boolean;
  /** `undefined`: until it is ended. */
  readonly seconds: number | undefined;
  readonly json: string | undefined;
  readonly seed: number;
  readonly engine: EngineName;
  readonly store: StoreKind;
}

/** Thrown when the command line is wrong, or asked for help; `exitCode` says which. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
  readonly exitCode: number;
  constructor(message: string, exitCode: number) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** The length of a run without a given end when nobody watches, in seconds. */
const HEADLESS_SECONDS = 30;

const EPILOGUE = `
Figures: failedWrites counts every write that was rejected. unknownWrites says how many of them may have been
committed all the same: a primary was lost, and neither the driver's retry nor the time-out brought an answer.
What a reader then sees, old or new, is right; a new value binds all readers from then on.`;

/**
 * Reads the command line (without Node and the script). `mixes` are the names that `--mix` may take. Writes
 * help to standard output, and throws `UsageError` with a message that names the option.
 */
export function parseOptions(argv: readonly string[], mixes: readonly string[]): DemoOptions {
  const command = new Command('demo')
    .description(
      'A shop on Lockstep: servers, application processes, a worker, load, faults and a page that shows it all.',
    )
    .addOption(numeric('--port <n>', 'port of the page and of /status; 0: any', 4600, 0, 65_535))
    .addOption(numeric('--processes <n>', 'application processes', 2, 1, 16))
    .addOption(numeric('--workers <n>', 'worker processes', 1, 0, 8))
    .addOption(numeric('--products <n>', 'rows in the table', 10_000, 1, 1_000_000))
    .addOption(
      rate(
        '--reads <n>',
        'reads per second of all processes together; 0: none (default: 10000, or what mix or trace say)',
      ),
    )
    .addOption(
      rate(
        '--writes <n>',
        'writes per second of all processes together; 0: none (default: 100, or what mix or trace say)',
      ),
    )
    .addOption(
      new Option(
        '--mix <name>',
        'catalogue, or cluster1 to cluster54: a production cluster of the Twitter table',
      )
        .default('catalogue')
        .argParser((name) => {
          if (mixes.includes(name)) return name;
          throw new InvalidArgumentError(
            /^cluster\d+$/.test(name)
              ? 'the table has no operations for it.'
              : 'known are catalogue and cluster1 to cluster54.',
          );
        }),
    )
    .addOption(
      new Option('--trace <file>', 'replay a trace in the CSV format of twitter/cache-trace').argParser(
        readable,
      ),
    )
    .addOption(
      numeric('--zipf <n>', 'exponent of popularity, in place of the mix’s', undefined, 0, 10, false),
    )
    .addOption(
      new Option(
        '--faults <names>',
        `what to break at random times, comma-separated: ${FAULT_NAMES.join(', ')} (${MONGO_FAULTS.join(' and ')} with --store mongo, on a replica set of three)`,
      )
        .default([], 'none')
        .argParser(faultNames),
    )
    .addOption(
      numeric(
        '--foreign-writes <n>',
        'updates per second by another program (plain SQL, or updateOne on MongoDB) with the fault foreign-write',
        10,
        0,
        1_000,
        false,
      ),
    )
    .addOption(
      new Option('--engine <name>', 'naive: commit, then SETEX')
        .choices(['lockstep', 'naive'])
        .default('lockstep'),
    )
    .addOption(new Option('--store <name>', 'the system of record').choices(STORE_KINDS).default('postgres'))
    .addOption(numeric('--seed <n>', 'of everything random', 1, 0, 4_294_967_295))
    .addOption(
      numeric(
        '--seconds <n>',
        `length of the load (default: until it is ended; ${HEADLESS_SECONDS} when headless)`,
        undefined,
        1,
        86_400,
        false,
      ),
    )
    .option('--headless', 'no page; ends by itself', false)
    .addOption(
      new Option('--json <file>', 'write the figures there as JSON when the run is over').argParser(writable),
    )
    .addHelpText('after', EPILOGUE)
    .allowExcessArguments(false)
    .exitOverride()
    .configureOutput({ writeErr: () => undefined });
  try {
    // A package manager hands its own separator on.
    command.parse(argv[0] === '--' ? argv.slice(1) : argv, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    const message = error.message.replace(/^error: /, '').replace(/\s*\n\s*/g, ' ');
    throw new UsageError(message, error.exitCode === 0 ? 0 : 2);
  }
  const options = command.opts<Record<keyof DemoOptions, never>>() as unknown as DemoOptions;
  if (options.trace !== undefined && command.getOptionValueSource('mix') === 'cli') {
    throw new UsageError('--trace: excludes --mix', 2);
  }
  if (options.trace !== undefined && options.zipf !== undefined) {
    throw new UsageError('--zipf: a trace has its own keys', 2);
  }
  const misplaced = options.faults.filter((name) => !faultsOf(options.store).includes(name));
  if (misplaced.length > 0) {
    throw new UsageError(`--faults: ${misplaced.join(', ')}: only with --store mongo`, 2);
  }
  const seconds = options.seconds ?? (options.headless ? HEADLESS_SECONDS : undefined);
  return { ...options, seconds };
}

function numeric(
  flags: string,
  description: string,
  fallback: number | undefined,
  min: number,
  max: number,
  whole = true,
): Option {
  const option = new Option(flags, description).argParser((text) => {
    const value = Number(text);
    if (text.trim() !== '' && value >= min && value <= max && (!whole || Number.isInteger(value)))
      return value;
    throw new InvalidArgumentError(`must be ${whole ? 'a whole number' : 'a number'} from ${min} to ${max}.`);
  });
  return fallback === undefined ? option : option.default(fallback);
}

function rate(flags: string, description: string): Option {
  return numeric(flags, description, undefined, 0, 1_000_000, false);
}

function faultNames(text: string): FaultName[] {
  const names = text.split(',').map((name) => name.trim());
  for (const name of names) {
    if (!isFaultName(name)) {
      throw new InvalidArgumentError(`"${name}" is not among ${FAULT_NAMES.join(', ')}.`);
    }
  }
  return names.filter(isFaultName);
}

function readable(path: string): string {
  try {
    accessSync(path, constants.R_OK);
    if (statSync(path).isFile()) return resolve(path);
  } catch {
    // Said below.
  }
  throw new InvalidArgumentError('no such file that can be read.');
}

function writable(path: string): string {
  const whole = resolve(path);
  try {
    accessSync(dirname(whole), constants.W_OK);
    return whole;
  } catch {
    throw new InvalidArgumentError('its folder is not there or can’t be written to.');
  }
}
