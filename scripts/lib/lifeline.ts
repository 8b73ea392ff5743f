/**
 * Runs the command in its arguments and sees to it that it ends with the script that asked for it. It leads
 * a process group of its own, so that a signal to the script's group does not take it; the channel to the
 * script closes however the script ends, `kill -9` included.
 */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';

/** How long the command may take over an orderly end: longer than it grants its own children. */
const GRACE_MS = 20_000;

const [command, ...args] = process.argv.slice(2);
if (command === undefined) throw new Error('lifeline: needs a command');
// In this process's group, which the last resort below kills as a whole.
const child = spawn(command, args, { stdio: 'inherit' });
let ending = false;

function end(signal: NodeJS.Signals): void {
  if (ending) return;
  ending = true;
  child.kill(signal);
  setTimeout(() => process.kill(-process.pid, 'SIGKILL'), GRACE_MS);
}

process.on('message', (signal: NodeJS.Signals) => end(signal));
process.on('disconnect', () => end('SIGTERM'));
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => end(signal));

child.on('error', (error) => {
  console.error(`${command}: ${error.message}`);
  process.exit(127);
});
child.on('exit', (code, signal) =>
  process.exit(signal === null ? (code ?? 1) : 128 + constants.signals[signal]),
);
