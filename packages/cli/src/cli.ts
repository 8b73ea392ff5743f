#!/usr/bin/env node
/** Looks at Node.js before anything is loaded that an older one may fail on. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const NEEDED = 22;
const own = Number.parseInt(process.versions.node, 10);

if (own < NEEDED && process.argv[2] !== 'init') {
  console.error(`lockstep: needs Node.js ${NEEDED} or later; this is ${process.version}`);
  process.exit(2);
}
if (own < NEEDED) process.exit(onLaterNode());
const { main } = await import('./program.js');
await main();

/** `init` on a Node.js that npm brings; the project gets one like it. */
function onLaterNode(): number {
  const system = process.platform === 'win32' ? 'win' : process.platform;
  const name = system === 'darwin' && process.arch === 'arm64' ? 'node-bin' : 'node';
  console.error(
    `lockstep: this is Node.js ${process.version}, too old for Lockstep: the project gets its own`,
  );
  const node = ['exec', '--yes', `--package=${name}-${system}-${process.arch}@24`, '--', 'node'];
  const { status } = spawnSync('npm', [...node, fileURLToPath(import.meta.url), ...process.argv.slice(2)], {
    stdio: 'inherit',
    shell: process.platform === 'win32',
    env: { ...process.env, LOCKSTEP_INIT_NODE: String(own) },
  });
  return status ?? 2;
}
