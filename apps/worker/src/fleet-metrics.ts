import type { Lockstep } from '@lockstep/core';
import { Gauge, type Registry } from 'prom-client';
import type { Recorder } from './recorder.js';

/**
 * Gauges of what all processes have announced; each worker tells the same. Returns what sets them. Labels are names that
 * this worker declares: whoever may write to the cache may announce others.
 */
export function fleetMetrics(lockstep: Lockstep, recorder: Recorder, registers: Registry[]): () => void {
  const gauge = (name: string, help: string, labelNames: string[] = ['collection']): Gauge =>
    new Gauge({ name: `lockstep_fleet_${name}`, help, labelNames, registers });
  const since = 'by all processes since each of them began';
  const near = {
    items: gauge('near_entries', 'Near entries, of all processes'),
    bytes: gauge('near_bytes', 'Bytes of near entries, of all processes; 0 without maxBytes'),
    hits: gauge('near_hits', `Reads answered by near entries, ${since}`),
    misses: gauge('near_misses', `Reads that near entries did not answer, ${since}`),
    dropped: gauge('near_dropped', `Near entries that a change took out, ${since}`),
    live: gauge(
      'near_live',
      "Processes that may serve near entries: the cache's messages are proven to arrive",
    ),
  };
  const buffering = gauge('buffering', 'Processes that buffer writes now');
  const processes = gauge('processes', 'Applications and workers that are alive', []);
  const breakers = gauge('breakers_open', 'Processes whose breaker in front of the cache is not closed', []);
  return () => {
    for (const each of [...Object.values(near), buffering, processes, breakers]) each.reset();
    const { points, state } = recorder;
    const last = points.at(-1);
    if (state === undefined || last === undefined) return;
    processes.set(last.processes);
    breakers.set(last.breakers);
    const names = new Set(lockstep.collections.map(({ name }) => name));
    for (const part of state.parts) {
      if (part.kind !== 'collection' || !names.has(part.name)) continue;
      const collection = part.name;
      if (part.buffering !== null) buffering.set({ collection }, part.buffering);
      if (part.near === null) continue;
      for (const [name, each] of Object.entries(near)) {
        each.set({ collection }, part.near[name as keyof typeof near]);
      }
    }
  };
}
