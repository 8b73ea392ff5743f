/**
 * Runs the command in its arguments and sees to it that it ends with the script that asked for it. It leads
 * a process group of its own, so that a signal to the script's group does not take it; the channel to the
 * script closes however the script ends, `kill -9` included.
 */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';

/** How long the command may take over an orderly end: longer than it grants its own children. */
const GRACE_MS = 20_000;

const [command, ...args] = process.argv.slice(2);
if (command === undefined) throw new Error('lifeline: needs a command');
// In this process's group, which the last resort below kills as a whole.
const child = spawn(command, args, { stdio: 'inherit' });
let ending = false;

/** The processes that a process has started, and theirs; none where there is no `/proc`. */
function descendants(pid: number): number[] {
  let children: number[] = [];
  try {
    children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
      .split(' ')
      .filter(Boolean)
      .map(Number);
  } catch {
    // It has ended.
  }
  return children.flatMap((id) => [...descendants(id), id]);
}

function killAll(): void {
  for (const pid of descendants(process.pid)) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has ended.
    }
  }
  process.kill(-process.pid, 'SIGKILL');
}

/** SIGTERM whatever came: turbo leaves SIGINT to the terminal, which does not reach this group. */
function end(): void {
  if (ending) return;
  ending = true;
  child.kill('SIGTERM');
  setTimeout(killAll, GRACE_MS);
}

process.on('disconnect', end);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, end);

child.on('error', (error) => {
  console.error(`${command}: ${error.message}`);
  process.exit(127);
});
child.on('exit', (code, signal) =>
  process.exit(signal === null ? (code ?? 1) : 128 + constants.signals[signal]),
);
