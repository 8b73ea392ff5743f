#!/usr/bin/env node
import { knownMixes } from './load/source.js';
import { main } from './main.js';
import { parseOptions, UsageError } from './options.js';

/** Reads the command line and runs; what goes wrong is one line on standard error. */
async function start(): Promise<number> {
  try {
    const mixes = [...(await knownMixes()).keys()];
    return await main(parseOptions(process.argv.slice(2), mixes));
  } catch (error) {
    if (error instanceof UsageError) {
      // Commander has written help and version itself.
      if (error.exitCode !== 0) process.stderr.write(`demo: ${error.message}\n`);
      return error.exitCode;
    }
    process.stderr.write(`demo: ${error instanceof Error ? error.message : String(error)}\n`);
    return 1;
  }
}

process.exit(await start());
