import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

/**
 * Signals a process and all its descendants, parents first so that nothing new is forked meanwhile.
 * Process groups would not do: each Postgres backend leads a session of its own.
 */
export function signalTree(pid: number, signal: NodeJS.Signals): void {
  // Listed before the first signal: a killed parent's children belong to init and could no longer be found.
  const pids = [pid, ...descendants(pid)];
  for (const each of pids) {
    try {
      process.kill(each, signal);
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
    }
  }
}

/** All processes below `root`, itself not included. */
export function descendants(root: number): number[] {
  const children = new Map<number, number[]>();
  for (const [pid, parent] of parents()) {
    const siblings = children.get(parent);
    if (siblings === undefined) children.set(parent, [pid]);
    else siblings.push(pid);
  }
  const found: number[] = [];
  const queue = [root];
  for (let pid = queue.shift(); pid !== undefined; pid = queue.shift()) {
    const next = children.get(pid) ?? [];
    found.push(...next);
    queue.push(...next);
  }
  return found;
}

function parents(): [pid: number, parent: number][] {
  return process.platform === 'linux' ? parentsFromProc() : parentsFromPs();
}

function parentsFromProc(): [number, number][] {
  const found: [number, number][] = [];
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    if (!Number.isInteger(pid)) continue;
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
      // The name of the command stands in brackets and may itself hold brackets and spaces.
      const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
      found.push([pid, parent]);
    } catch {
      // The process ended between the listing and the reading.
    }
  }
  return found;
}

function parentsFromPs(): [number, number][] {
  const output = execFileSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8', timeout: 10_000 });
  return output
    .trim()
    .split('\n')
    .map((line) => {
      const [pid, parent] = line.trim().split(/\s+/);
      return [Number(pid), Number(parent)];
    });
}
