import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { performance } from 'node:perf_hooks';
import type { LockstepEventMap, LockstepEventName, LockstepTraceName } from '@lockstep/core';
import { type Attributes, context, type Histogram, type Meter, type Span, trace } from '@opentelemetry/api';
import { errorType, onCalls } from './channels.js';

/** In seconds: from a hit in memory to a time-out. */
const BOUNDARIES = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
];
const BREAKER_STATES = ['closed', 'half-open', 'open'];
const BUFFER_STATES = ['synchronous', 'draining', 'buffering'];

/** Records metrics of every Lockstep of the process. Returns what ends that. */
export function subscribeMetrics(meterOf: () => Meter): () => void {
  const meter = meterOf();
  const seconds = (name: string, description: string): Histogram =>
    meter.createHistogram(name, {
      description,
      unit: 's',
      advice: { explicitBucketBoundaries: BOUNDARIES },
    });
  const misses = meter.createCounter('lockstep.misses', {
    description: 'Reads that the cache could not answer',
  });
  const hits = meter.createCounter('lockstep.hits', { description: 'Reads that the cache answered' });
  const refused = meter.createCounter('lockstep.fills.refused', {
    description: 'Loads that may not become the entry',
  });
  const loaded = meter.createCounter('lockstep.loaded.rows', { description: 'Rows asked of the store' });
  const changes = meter.createCounter('lockstep.relay.changes', {
    description: 'Changes that the relay handled',
  });
  const lag = seconds('lockstep.relay.lag', 'Age of the oldest change of a batch when it was dealt with');
  const handovers = meter.createCounter('lockstep.handover.jobs', {
    description: 'Invalidations offered to the queue',
  });
  const flushes = meter.createCounter('lockstep.flushes', {
    description: 'Buffered writes that left the buffer',
  });
  const buffer = meter.createGauge('lockstep.buffer.state', {
    description: 'Where writes go: 0 to the store, 1 into the buffer while it drains, 2 into the buffer',
  });
  const unbuffered = meter.createCounter('lockstep.buffer.refused', {
    description: 'Writes that were to be buffered and went to the store',
  });
  const errors = meter.createCounter('lockstep.errors', { description: 'Failures behind the scenes' });
  const breaker = meter.createGauge('lockstep.breaker.state', {
    description: 'Circuit breaker in front of the cache: 0 closed, 1 half-open, 2 open',
  });
  const ends = [
    timed(
      'get',
      seconds('lockstep.get.duration', 'Reads, to the answer'),
      ({ collection, operation, result }) => ({
        'lockstep.collection': collection,
        'lockstep.operation': operation,
        ...(operation === 'get' && {
          'lockstep.from': (result as { readonly from?: string } | undefined)?.from,
        }),
      }),
    ),
    timed('write', seconds('lockstep.write.duration', 'Writes, to the answer'), (message) => {
      const { cache, store } = (message.result ?? {}) as Readonly<Record<string, string | undefined>>;
      return {
        'lockstep.collection': message.collection,
        'lockstep.operation': message.operation,
        'lockstep.store': store,
        'lockstep.cache': cache,
      };
    }),
    timed(
      'load',
      seconds('lockstep.load.duration', 'Calls of the store that load rows'),
      ({ collection, keys }) => {
        loaded.add(keys, { 'lockstep.collection': collection });
        return { 'lockstep.collection': collection };
      },
    ),
    timed('relay', seconds('lockstep.relay.duration', 'Batches of changes, into the cache'), ({ feed }) => ({
      'lockstep.feed': feed,
    })),
    onEvent('hit', ({ collection, from, stale }) =>
      hits.add(1, { 'lockstep.collection': collection, 'lockstep.from': from, 'lockstep.stale': stale }),
    ),
    onEvent('miss', ({ collection, reason }) =>
      misses.add(1, { 'lockstep.collection': collection, 'lockstep.reason': reason }),
    ),
    onEvent('fillRefused', ({ collection, reason }) =>
      refused.add(1, { 'lockstep.collection': collection, 'lockstep.reason': reason }),
    ),
    onEvent('relay', (event) => {
      changes.add(event.changes, { 'lockstep.feed': event.feed });
      if (event.changes > 0) lag.record(event.lagMs / 1_000, { 'lockstep.feed': event.feed });
    }),
    onEvent('handover', ({ jobs, taken }) => handovers.add(jobs, { 'lockstep.taken': taken })),
    onEvent('buffer', ({ collection, state }) =>
      buffer.record(BUFFER_STATES.indexOf(state), { 'lockstep.collection': collection }),
    ),
    onEvent('bufferRefused', ({ collection, reason }) =>
      unbuffered.add(1, { 'lockstep.collection': collection, 'lockstep.reason': reason }),
    ),
    onEvent('flush', ({ collection, outcome }) =>
      flushes.add(1, { 'lockstep.collection': collection, 'lockstep.outcome': outcome }),
    ),
    onEvent('flushRefused', ({ collection }) =>
      flushes.add(1, { 'lockstep.collection': collection, 'lockstep.outcome': 'refused' }),
    ),
    onEvent('error', ({ where }) => errors.add(1, { 'lockstep.where': where })),
    onEvent('breaker', ({ state }) => breaker.record(BREAKER_STATES.indexOf(state))),
  ];
  return () => {
    for (const end of ends) end();
  };
}

/** `attributes` are asked for when a call is over; what is undefined is left out. */
function timed<Name extends LockstepTraceName>(
  name: Name,
  histogram: Histogram,
  attributes: (
    message: Parameters<Parameters<typeof onCalls<Name>>[1]['end']>[0],
  ) => Record<string, string | undefined>,
): () => void {
  const begun = new WeakMap<object, { readonly atMs: number; readonly span: Span | undefined }>();
  return onCalls(name, {
    start(message) {
      begun.set(message, { atMs: performance.now(), span: trace.getActiveSpan() });
    },
    end(message, error) {
      const started = begun.get(message);
      if (started === undefined) return;
      const all = {
        ...attributes(message),
        'error.type': error === undefined ? undefined : errorType(error),
      };
      const known = Object.fromEntries(
        Object.entries(all).filter(([, value]) => value !== undefined),
      ) as Attributes;
      // With the caller's span, so that an exemplar leads to it.
      const within =
        started.span === undefined ? context.active() : trace.setSpan(context.active(), started.span);
      histogram.record((performance.now() - started.atMs) / 1_000, known, within);
    },
  });
}

function onEvent<Name extends LockstepEventName>(
  name: Name,
  listener: (event: LockstepEventMap[Name]) => void,
): () => void {
  const heard = (event: unknown): void => listener(event as LockstepEventMap[Name]);
  subscribe(`lockstep:${name}`, heard);
  return () => void unsubscribe(`lockstep:${name}`, heard);
}
