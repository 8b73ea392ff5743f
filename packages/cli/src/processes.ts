import type { Announcement } from '@lockstep/core';
import { TOOL } from './session.js';

/** An application or a worker, by what it said last. */
export interface Process {
  readonly name: string;
  readonly host: string;
  readonly pid: number;
  readonly node: string;
  /** Since when it runs. */
  readonly since: string;
  readonly breaker: 'open' | 'half-open' | 'closed';
  /** Why the breaker is open, in the server's words. */
  readonly cause?: string;
  readonly enabled: boolean;
  /** The command of this command line that it runs; absent: an application or a worker. */
  readonly command?: string;
  readonly hits: number;
  readonly misses: Readonly<Record<string, number>>;
  readonly hitRate: number | null;
  /** Of a worker with an auditor: entries that stay wrong with nothing on its way that would mend them. */
  readonly staleKeys?: number;
  readonly relay?: { readonly running: boolean; readonly handled: number; readonly lagP99Ms: number };
}

export function processOf({
  cache,
  facts,
  host,
  name,
  node,
  parts,
  pid,
  relay,
  startedAtMs,
}: Announcement): Process {
  const misses: Record<string, number> = {};
  let hits = 0;
  for (const { figures } of parts) {
    hits += figures.hits;
    for (const [reason, count] of Object.entries(figures.misses)) {
      if (count > 0) misses[reason] = (misses[reason] ?? 0) + count;
    }
  }
  return {
    name,
    host,
    pid,
    node,
    since: new Date(startedAtMs).toISOString(),
    breaker: cache.breaker,
    ...(cache.cause === undefined ? {} : { cause: cache.cause }),
    enabled: cache.enabled,
    ...(typeof facts[TOOL] === 'string' ? { command: facts[TOOL] } : {}),
    hits,
    misses,
    hitRate: rateOf(hits, misses),
    ...staleOf(facts),
    ...(relay === null
      ? {}
      : { relay: { running: relay.running, handled: relay.handled, lagP99Ms: Math.round(relay.lagMs.p99) } }),
  };
}

/** What its auditor says; whoever may write to the cache may have written it. */
function staleOf({ consistency }: Announcement['facts']): { readonly staleKeys?: number } {
  const open = (consistency as { readonly open?: unknown } | null | undefined)?.open;
  return typeof open === 'number' ? { staleKeys: open } : {};
}

/** A process can't reach what others can: its own network, its own credentials. */
export function processProblems({
  breaker,
  cause,
  enabled,
  host,
  name,
  pid,
  relay,
  staleKeys = 0,
}: Process): string[] {
  const who = `process ${name === host ? host : `${name} (${host})`} ${pid}`;
  return [
    ...(breaker === 'closed' ? [] : [`${who}: its breaker is ${breaker}: ${cause ?? 'the cache fails'}`]),
    ...(enabled ? [] : [`${who}: reads go to the store: it is switched off`]),
    ...(staleKeys === 0
      ? []
      : [`${who}: its auditor names ${staleKeys} entries that stay wrong → lockstep verify --repair`]),
    ...(relay === undefined || relay.running ? [] : [`${who}: its relay has stopped → restart it`]),
  ];
}

export function totalsOf(processes: readonly Process[]): {
  readonly hitRate: number | null;
  readonly shapeMisses: number;
} {
  const hits = processes.reduce((sum, process) => sum + process.hits, 0);
  const misses = processes.map((process) => process.misses);
  const all: Record<string, number> = {};
  for (const each of misses)
    for (const [reason, count] of Object.entries(each)) all[reason] = (all[reason] ?? 0) + count;
  return { hitRate: rateOf(hits, all), shapeMisses: all['shape'] ?? 0 };
}

function rateOf(hits: number, misses: Readonly<Record<string, number>>): number | null {
  const missed = Object.values(misses).reduce((sum, count) => sum + count, 0);
  return hits + missed === 0 ? null : Math.round((hits / (hits + missed)) * 10_000) / 10_000;
}

/** Ninety-seven and a half of a hundred as `97.5 %`. */
export function percent(rate: number | null): string {
  return rate === null ? '–' : `${(rate * 100).toFixed(1)} %`;
}
