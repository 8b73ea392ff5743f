import { readdirSync, readFileSync } from 'node:fs';

/** Processor time in µs since a process and its children began, by what they are. */
export type ProcessorTimes = Readonly<Record<string, number>>;

/** Linux counts it in hundredths of a second, whatever the kernel's own tick. */
const TICK_US = 10_000;

/** Reads what this process and the named servers have used so far; servers are left out where there is no `/proc`. */
export function processorTimes(servers: Readonly<Record<string, number | undefined>>): ProcessorTimes {
  const { user, system } = process.cpuUsage();
  const times: Record<string, number> = { node: user + system };
  for (const [name, pid] of Object.entries(servers)) {
    const used = pid === undefined ? undefined : usedBy(pid);
    if (used !== undefined) times[name] = used;
  }
  return times;
}

/** A server forks workers: its own time, that of its living children, and of those it has buried. */
function usedBy(pid: number): number | undefined {
  try {
    let ticks = 0;
    for (const name of readdirSync('/proc')) {
      const stat = /^\d+$/.test(name) ? statOf(name) : undefined;
      if (stat === undefined) continue;
      const own = Number(stat[11]) + Number(stat[12]);
      if (name === String(pid)) ticks += own + Number(stat[13]) + Number(stat[14]);
      else if (stat[1] === String(pid)) ticks += own;
    }
    return ticks * TICK_US;
  } catch {
    return undefined;
  }
}

/** The fields of `/proc/PID/stat` after the command, which may hold anything: state, parent, … */
function statOf(pid: string): string[] | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return text.slice(text.lastIndexOf(')') + 2).split(' ');
  } catch {
    return undefined; // It has just ended.
  }
}

/** The processor time between two samples, in µs for each of `calls`. */
export function perCall(before: ProcessorTimes, after: ProcessorTimes, calls: number): ProcessorTimes {
  return Object.fromEntries(
    Object.entries(after).map(([name, used]) => [name, (used - (before[name] ?? 0)) / calls]),
  );
}
