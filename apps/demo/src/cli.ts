#!/usr/bin/env node
/** Looks at Node.js before anything is loaded that an older one may fail on. */
const NEEDED = 22;

if (Number.parseInt(process.versions.node, 10) < NEEDED) {
  process.stderr.write(`demo: needs Node.js ${NEEDED} or later; this is ${process.version}\n`);
  process.exit(2);
}
const { knownMixes } = await import('./load/source.js');
const { main } = await import('./main.js');
const { parseOptions, UsageError } = await import('./options.js');

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
