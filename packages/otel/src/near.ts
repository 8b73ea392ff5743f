import type { Lockstep, NearStatus } from '@lockstep/core';
import type { Meter, Observable, ObservableResult } from '@opentelemetry/api';

/** Tells the near entries of the observed Locksteps at each collection of metrics. Returns what ends that. */
export function observeNear(meter: Meter, observed: ReadonlySet<Pick<Lockstep, 'status'>>): () => void {
  const ends: (() => void)[] = [];
  const tell = (instrument: Observable, figure: (near: NearStatus) => number): void => {
    const callback = (result: ObservableResult): void => {
      for (const lockstep of observed) {
        for (const near of lockstep.status().near ?? [])
          result.observe(figure(near), { 'lockstep.collection': near.collection });
      }
    };
    instrument.addCallback(callback);
    ends.push(() => instrument.removeCallback(callback));
  };
  const counter = (name: string, description: string): Observable =>
    meter.createObservableCounter(name, { description });
  const gauge = (name: string, description: string, unit?: string): Observable =>
    meter.createObservableGauge(name, unit === undefined ? { description } : { description, unit });
  tell(gauge('lockstep.near.entries', 'Near entries'), ({ items }) => items);
  tell(gauge('lockstep.near.size', 'Bytes of near entries; 0 without maxBytes', 'By'), ({ bytes }) => bytes);
  tell(counter('lockstep.near.hits', 'Reads that near entries answered'), ({ hits }) => hits);
  tell(counter('lockstep.near.misses', 'Reads that near entries did not answer'), ({ misses }) => misses);
  tell(counter('lockstep.near.dropped', 'Near entries that a change took out'), ({ dropped }) => dropped);
  tell(
    gauge('lockstep.near.live', "1 while the cache's messages about changes are proven to arrive"),
    ({ live }) => (live ? 1 : 0),
  );
  return () => {
    for (const end of ends) end();
  };
}
