import { writeFileSync } from 'node:fs';
import { Command, InvalidArgumentError, Option } from 'commander';
import { CONTROLS, isControl } from './crash/controls/names.js';
import { runCrash } from './crash/run.js';
import type { AppendFsync, Durability, StoreName } from './crash/settings.js';
import { breaksWithout, NEAR_CONTROLS, type NearControl } from './near/controls.js';
import { runNear } from './near/run.js';
import type { NearStoreName } from './near/stores.js';
import { CHANGES, type ChangeName } from './rollout/changes.js';
import { runRollout } from './rollout/run.js';
import { ROLLOUT_CONTROLS, type RolloutSettings } from './rollout/settings.js';
import { VIEWS_CONTROLS } from './views/controls/names.js';
import { runViews } from './views/run.js';
import type { CacheKind, ViewsSettings } from './views/settings.js';

interface Flags {
  readonly kills: number;
  readonly json?: string;
  readonly store: StoreName;
  readonly redisRestart?: true;
  readonly powerLoss?: true;
  readonly durability: Durability;
  readonly appendfsync: AppendFsync;
  readonly control?: string;
  readonly seed: number;
}

interface NearFlags {
  readonly reads: number;
  readonly store: NearStoreName;
  readonly cache: CacheKind;
  readonly maxStaleMs: number;
  readonly json?: string;
  readonly control?: NearControl;
  readonly seed: number;
}

/** A kill takes about a quarter of a second; what takes ten times that hangs. */
const MS_PER_KILL = 3_000;
const MS_BESIDES = 120_000;

function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const number = Number(text);
    if (Number.isInteger(number) && number >= min && number <= max) return number;
    throw new InvalidArgumentError(`must be a whole number from ${min} to ${max}.`);
  };
}

const CACHE = new Option('--cache <kind>', "of the cache's servers")
  .choices(['standalone', 'sentinel', 'cluster'])
  .default('standalone');

const program = new Command('crash').description('Kills processes under load and checks what is left.');

program
  .command('bursts')
  .description(
    'Two applications and two workers on real servers, killed (-9) at random moments while they buffer, write and ' +
      'read the same keys beside a foreign writer. Exit code 1 when something acknowledged is lost or out of order, ' +
      'or a read was stale.',
  )
  .option('--kills <n>', 'how many times', wholeNumber(1, 100_000), 200)
  .option('--json <file>', 'write the result there, too')
  .addOption(new Option('--store <name>', 'the database').choices(['postgres', 'mongo']).default('postgres'))
  .option('--redis-restart', "kill the cache's server, too, and restart it with its data")
  .addOption(
    new Option('--durability <name>', 'of buffered writes: disk waits for the append-only file (WAITAOF)')
      .choices(['memory', 'disk'])
      .default('memory'),
  )
  .addOption(
    new Option('--appendfsync <policy>', "of the cache's server; off: no append-only file")
      .choices(['always', 'everysec', 'no', 'off'])
      .default('always'),
  )
  .option(
    '--power-loss',
    'what a killed cache server had not synced goes with it, as if its machine had failed',
  )
  .addOption(
    new Option('--control <name>', 'take one rule of the buffer out; the exit code is 0 then').choices(
      Object.keys(CONTROLS),
    ),
  )
  .option('--seed <n>', 'of all random choices', wholeNumber(0, 2 ** 31), Date.now() % 1_000_000)
  .addHelpText('after', () => `\nControls:\n${textOf(CONTROLS)}`)
  .action(async (flags: Flags) => {
    process.exitCode = await bursts(flags);
  });

program
  .command('rollout')
  .description(
    'Changes a table of Postgres under two releases of an application that run side by side, forwards and back. ' +
      'Exit code 1 when a write is lost, a call fails, a read is stale, or a release sees a row that it does not know.',
  )
  .addOption(
    new Option('--change <name>', 'one kind of change; all unless given').choices(Object.keys(CHANGES)),
  )
  .addOption(new Option('--serializer <name>', 'of the cache').choices(['json', 'msgpack']).default('json'))
  .addOption(
    new Option('--control <name>', 'take one rule out; the exit code is 0 then').choices(
      Object.keys(ROLLOUT_CONTROLS),
    ),
  )
  .option('--calls <n>', 'of each process in each step', wholeNumber(1, 1_000_000), 400)
  .option('--seed <n>', 'of all random choices', wholeNumber(0, 2 ** 31), Date.now() % 1_000_000)
  .action(async ({ change, ...flags }: Omit<RolloutSettings, 'change'> & { change?: ChangeName }) => {
    const names = change === undefined ? (Object.keys(CHANGES) as ChangeName[]) : [change];
    for (const name of names) {
      const result = await runRollout({ ...flags, change: name });
      console.log(JSON.stringify(result, null, 2));
      if (result.problems.length > 0 && flags.control === undefined) process.exitCode = 1;
    }
  });

program
  .command('near')
  .description(
    'Near entries of rows and of views of three processes whose channels are held, swallowed, delayed and cut, over a ' +
      'cache that is flushed, evicts, hangs, restarts and fails over. Exit code 1 when a read was older than the bound allows.',
  )
  .option('--reads <n>', 'how many are judged', wholeNumber(1, 10_000_000_000), 10_000_000)
  .addOption(
    new Option('--store <name>', 'the database').choices(['memory', 'postgres', 'mongo']).default('memory'),
  )
  .addOption(CACHE)
  .option('--max-stale-ms <n>', 'the bound', wholeNumber(10, 60_000), 200)
  .option('--json <file>', 'write the result there, too')
  .addOption(
    new Option('--control <name>', 'take one rule out; the exit code is 0 when that is found').choices(
      Object.keys(NEAR_CONTROLS),
    ),
  )
  .option('--seed <n>', 'of all random choices', wholeNumber(0, 2 ** 31), Date.now() % 1_000_000)
  .addHelpText('after', () => `\nControls:\n${textOf(NEAR_CONTROLS)}`)
  .action(async ({ json, ...options }: NearFlags) => {
    const { control } = options;
    // What a rule that is out does shows soon; without one the whole run counts.
    const result = await runNear({
      ...options,
      ...(control !== undefined && { untilStale: true, breaks: breaksWithout(control) }),
    });
    const text = `${JSON.stringify(result, null, 2)}\n`;
    console.log(text);
    if (json !== undefined) writeFileSync(json, text);
    if (result.stale > 0 !== (control !== undefined)) process.exitCode = 1;
  });

program
  .command('views')
  .description(
    'Two applications and two workers on real servers, killed (-9) at random moments while they read lists, joins and ' +
      'counts and write their rows beside another program, with a cache that is flushed, evicts, hangs and fails over. ' +
      'Each read is judged by what the database has recorded. Exit code 1 when one lacks a row that an acknowledged ' +
      'write has put there, or has it wrongly.',
  )
  .option('--kills <n>', 'how many times something is killed or broken', wholeNumber(1, 100_000), 60)
  .option('--json <file>', 'write the result there, too')
  .option('--history <file>', 'write there what the checker was given')
  .addOption(new Option('--store <name>', 'the database').choices(['postgres', 'mongo']).default('postgres'))
  .addOption(CACHE)
  .addOption(
    new Option('--control <name>', 'take one rule of views out; the exit code is 0 then').choices(
      Object.keys(VIEWS_CONTROLS),
    ),
  )
  .option('--seed <n>', 'of all random choices', wholeNumber(0, 2 ** 31), Date.now() % 1_000_000)
  .addHelpText('after', () => `\nControls:\n${textOf(VIEWS_CONTROLS)}`)
  .action(async ({ json, ...flags }: ViewsFlags) => {
    const settings = { control: undefined, history: undefined, ...flags };
    process.exitCode = await untilOver({ ...settings, json }, (signal) =>
      runViews(settings, signal, progress),
    );
  });

type ViewsFlags = Omit<ViewsSettings, 'control' | 'history'> &
  Partial<Pick<ViewsSettings, 'control' | 'history'>> &
  Output;

function textOf(controls: Readonly<Record<string, string>>): string {
  return Object.entries(controls)
    .map(([name, text]) => `  ${name.padEnd(23)}${text}`)
    .join('\n');
}

async function bursts({ control, json, powerLoss, redisRestart, ...rest }: Flags): Promise<number> {
  if (powerLoss && rest.durability === 'disk') {
    console.error('--power-loss does not know what WAITAOF has waited for: not with --durability disk');
    return 2;
  }
  const settings = {
    ...rest,
    redisRestart: redisRestart === true,
    powerLoss: powerLoss === true,
    control: control !== undefined && isControl(control) ? control : undefined,
  };
  return await untilOver({ ...settings, json }, (signal) => runCrash(settings, signal, progress));
}

interface Output {
  readonly json?: string | undefined;
}

/** Runs until it is over, interrupted, or takes too long; tells the result, and resolves with the exit code. */
async function untilOver(
  { control, json, kills }: Output & { readonly control: string | undefined; readonly kills: number },
  run: (signal: AbortSignal) => Promise<{ readonly clean: boolean }>,
): Promise<number> {
  const ending = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => ending.abort());
  const bound = setTimeout(() => ending.abort(), MS_BESIDES + kills * MS_PER_KILL);
  try {
    const result = await run(ending.signal);
    const text = `${JSON.stringify(result, null, 2)}\n`;
    if (process.stderr.isTTY) process.stderr.write('\n');
    console.log(text);
    if (json !== undefined) writeFileSync(json, text);
    return result.clean || control !== undefined ? 0 : 1;
  } catch (error) {
    if (!ending.signal.aborted) throw error;
    console.error('\ninterrupted, or too long: there is no result');
    return 2;
  } finally {
    clearTimeout(bound);
  }
}

/** One line that changes, on a terminal; elsewhere one for every tenth kill. */
function progress(line: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${line}`);
  else if (/^\d*0 /.test(line)) console.error(line);
}

await program.parseAsync();
// Not left to Node.js, which at times goes round for ever at its end: for a request of a channel that nobody waits for.
process.exit();
