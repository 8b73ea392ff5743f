import { createLockstep } from '@lockstep/core';
import { memoryCache, memoryStore } from '@lockstep/core/memory';
import { context, SpanStatusCode, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { PrometheusExporter, PrometheusSerializer } from '@opentelemetry/exporter-prometheus';
import { MeterProvider } from '@opentelemetry/sdk-metrics';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { LockstepInstrumentation } from '../src/index.js';

interface User {
  readonly name: string;
  readonly visits: number;
}

const SECRET = 'ada@example.org';
let spans: InMemorySpanExporter;
let reader: PrometheusExporter;
let instrumentation: LockstepInstrumentation;
let manager: AsyncLocalStorageContextManager;
let tracers: BasicTracerProvider;

beforeEach(() => {
  manager = new AsyncLocalStorageContextManager().enable();
  context.setGlobalContextManager(manager);
  spans = new InMemorySpanExporter();
  tracers = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] });
  reader = new PrometheusExporter({ preventServerStart: true });
  instrumentation = new LockstepInstrumentation({ enabled: false });
  instrumentation.setTracerProvider(tracers);
  instrumentation.setMeterProvider(new MeterProvider({ readers: [reader] }));
  instrumentation.enable();
});
afterEach(() => {
  instrumentation.disable();
  context.disable();
});

async function scrape(): Promise<string> {
  const { resourceMetrics } = await reader.collect();
  return new PrometheusSerializer().serialize(resourceMetrics);
}

function shop() {
  const lockstep = createLockstep({ cache: memoryCache() });
  const users = lockstep.collection({ name: 'users', store: memoryStore<User>({ name: 'users' }) });
  return { lockstep, users };
}

test('a read and its load are spans below the caller’s, with where the row came from', async () => {
  const { lockstep, users } = shop();
  const request = tracers.getTracer('test').startSpan('request');
  await context.with(trace.setSpan(context.active(), request), async () => {
    await users.get('1'); // the cache has nothing
    await users.put(SECRET, { name: SECRET, visits: 1 });
    await users.get(SECRET);
  });
  request.end();
  await lockstep.close();
  const all = spans.getFinishedSpans();
  const byName = (name: string) => all.filter((span) => span.name === name);
  const [miss, hit] = byName('lockstep.get users');
  expect(miss?.attributes).toMatchObject({
    'lockstep.from': 'store',
    'cache.hit': false,
    'lockstep.keys': 1,
  });
  expect(hit?.attributes).toMatchObject({ 'lockstep.from': 'cache', 'cache.hit': true });
  for (const span of [miss, hit]) expect(span?.parentSpanContext?.spanId).toBe(request.spanContext().spanId);
  const [load] = byName('lockstep.load users');
  expect(load?.parentSpanContext?.spanId).toBe(miss?.spanContext().spanId);
  const [put] = byName('lockstep.put users');
  expect(put?.attributes).toMatchObject({ 'lockstep.store': 'committed', 'lockstep.cache': 'updated' });
  // Neither ids nor values.
  expect(
    JSON.stringify(all.map(({ attributes, events, name, status }) => [name, attributes, events, status])),
  ).not.toContain(SECRET);
});

test('a failed call is an error of a stable type, without the message, which may quote a value', async () => {
  const { lockstep, users } = shop();
  await expect(users.get('')).rejects.toThrow('id');
  await expect(users.patch('nobody', { name: SECRET })).rejects.toThrow();
  await lockstep.close();
  const failed = spans.getFinishedSpans().filter(({ status }) => status.code === SpanStatusCode.ERROR);
  expect(failed.map(({ attributes }) => attributes['error.type'])).toEqual([
    'LOCKSTEP_INVALID_ID',
    'LOCKSTEP_STORE_REFUSED',
  ]);
  expect(JSON.stringify(failed.map(({ events, status }) => [events, status]))).not.toContain(SECRET);
});

test('metrics: durations by outcome, hits and misses, in a scrape of Prometheus', async () => {
  const { lockstep, users } = shop();
  await users.put(SECRET, { name: 'Ada', visits: 1 });
  await users.get(SECRET);
  await users.get('nobody');
  await users.increment(SECRET, 'visits', 1);
  await lockstep.close();
  const text = await scrape();
  expect(text).toMatch(/lockstep_get_duration_count\{[^}]*lockstep_from="cache"[^}]*\} 1/);
  expect(text).toMatch(/lockstep_write_duration_count\{[^}]*lockstep_operation="increment"[^}]*\} 1/);
  expect(text).toMatch(/lockstep_hits_total\{lockstep_collection="users"[^}]*\} 1/);
  expect(text).toMatch(
    /lockstep_misses_total\{lockstep_collection="users",lockstep_reason="absent"[^}]*\} 1/,
  );
  expect(text).not.toContain(SECRET);
});

test('near entries of an observed Lockstep; nothing of it once it is not observed any more', async () => {
  const lockstep = createLockstep({ cache: memoryCache() });
  const store = memoryStore<User>({ name: 'users' });
  const users = lockstep.collection({ name: 'users', store, near: { maxItems: 10 } });
  const end = instrumentation.observe(lockstep);
  await users.put(SECRET, { name: 'Ada', visits: 1 });
  while ((await users.getVersioned(SECRET)).from !== 'near');
  const of = async (name: string) =>
    new RegExp(`^lockstep_near_${name}\\{lockstep_collection="users"[^}]*\\} (\\d+)`, 'm').exec(
      await scrape(),
    )?.[1];
  expect([await of('entries'), await of('hits_total'), await of('live')]).toEqual(['1', '1', '1']);
  await users.put(SECRET, { name: 'Ada', visits: 2 });
  expect([await of('entries'), await of('dropped_total')]).toEqual(['0', '1']);
  end();
  while ((await users.getVersioned(SECRET)).from !== 'near');
  // A collector goes on with what it was told last.
  expect(await of('entries')).toBe('0');
  await lockstep.close();
});

test('disabled, nothing is recorded; an unknown option is refused by name', async () => {
  instrumentation.disable();
  const { lockstep, users } = shop();
  await users.get('1');
  await lockstep.close();
  expect(spans.getFinishedSpans()).toEqual([]);
  expect(() => new LockstepInstrumentation({ span: true } as never)).toThrow('unknown option span');
});
