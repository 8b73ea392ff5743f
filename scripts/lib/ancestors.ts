import { readFileSync } from 'node:fs';

/** How often the callers are looked at. */
const PERIOD_MS = 500;
const CALLER = /\b(npm|npx|pnpm)\b|\.ci\/run\b/;

/** Field 4 of `/proc/{pid}/stat`, after the command in brackets; undefined where there is no `/proc`. */
function parentOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return undefined;
  }
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return '';
  }
}

/** This process, its parent, and on to the outermost package manager or `.ci/run` that it was started by. */
function callers(): number[] {
  const chain = [process.pid, process.ppid];
  let length = chain.length;
  for (let pid = parentOf(process.ppid); pid !== undefined && pid > 1; pid = parentOf(pid)) {
    chain.push(pid);
    if (CALLER.test(commandOf(pid))) length = chain.length;
  }
  return chain.slice(0, length);
}

/**
 * Calls `onGone` once when a program between the user and this script has ended: a signal that is
 * sent to `npx` alone ends `npx`, and does not always reach what it started. Keeps no process alive.
 */
export function watchCallers(onGone: () => void): void {
  const chain = callers();
  const timer = setInterval(() => {
    const broken = chain.some((pid, i) => {
      const parent = chain[i + 1];
      if (parent === undefined) return false;
      return pid === process.pid ? process.ppid !== parent : parentOf(pid) !== parent;
    });
    if (!broken) return;
    clearInterval(timer);
    onGone();
  }, PERIOD_MS);
  timer.unref();
}
