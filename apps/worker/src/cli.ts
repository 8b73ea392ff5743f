#!/usr/bin/env node
/** Looks at Node.js before anything is loaded that an older one may fail on. */
const NEEDED = 22;

if (Number.parseInt(process.versions.node, 10) < NEEDED) {
  console.error(`lockstep-worker: needs Node.js ${NEEDED} or later; this is ${process.version}`);
  process.exit(2);
}
const { runWorker } = await import('./command.js');
await runWorker();
