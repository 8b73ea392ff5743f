import { readFileSync } from 'node:fs';
import { type Collection, createLockstep, type Lockstep } from '@lockstep/core';
import { memoryCache, memoryQueue, memoryStore } from '@lockstep/core/memory';
import { startWorker } from '@lockstep/worker';
import { PrometheusExporter, PrometheusSerializer } from '@opentelemetry/exporter-prometheus';
import { MeterProvider } from '@opentelemetry/sdk-metrics';
import { parser } from '@prometheus-io/lezer-promql';
import { pino } from 'pino';
import { beforeAll, expect, test } from 'vitest';
import { parse } from 'yaml';
import { LockstepInstrumentation } from '../src/index.js';

// Panels and rules name what a scrape of a worker, or of an application with this package, has.

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly annotations: { readonly summary: string; readonly description: string };
}

const text = (file: string) => readFileSync(new URL(`../${file}`, import.meta.url), 'utf8');
const dashboard = JSON.parse(text('grafana/lockstep.json')) as {
  readonly panels: readonly {
    readonly title: string;
    readonly targets?: readonly { readonly expr: string }[];
  }[];
};
const { groups } = parse(text('prometheus/alerts.yml')) as {
  readonly groups: readonly { readonly rules: readonly Rule[] }[];
};
const panels = dashboard.panels.flatMap(({ targets = [], title }) =>
  targets.map(({ expr }) => [title, expr] as const),
);
const rules = groups.flatMap((group) => group.rules);

/** Metrics of the scrapes, each with the labels that its samples have. */
const scraped = new Map<string, Set<string>>();

function note(scrape: string): void {
  for (const [, name = '', labels = ''] of scrape.matchAll(/^([a-z_]+)(?:\{(.*)\})? [-\d.e+NaI]+/gim)) {
    const known = scraped.get(name) ?? new Set();
    for (const [, label = ''] of labels.matchAll(/(\w+)="/g)) known.add(label);
    scraped.set(name, known);
  }
}

beforeAll(async () => {
  const reader = new PrometheusExporter({ preventServerStart: true });
  const instrumentation = new LockstepInstrumentation({ enabled: false });
  instrumentation.setMeterProvider(new MeterProvider({ readers: [reader] }));
  instrumentation.enable();
  let lockstep: Lockstep | undefined;
  let users: Collection<{ readonly name: string }> | undefined;
  const store = memoryStore<{ readonly name: string }>({ name: 'users' });
  const other = memoryStore<{ readonly name: string }>({ name: 'near' });
  let near: typeof users;
  const worker = await startWorker({
    lockstep: () => {
      lockstep = createLockstep({ cache: memoryCache(), queue: memoryQueue() });
      users = lockstep.collection({ name: 'users', store, burst: {} });
      near = lockstep.collection({ name: 'near', store: other, near: { maxItems: 10 } });
      return lockstep;
    },
    port: 0,
    logger: pino({ enabled: false }),
  });
  if (users === undefined || near === undefined) throw new Error('no Lockstep was made');
  const relayed = new Promise<void>((resolve) => lockstep?.events.on('relay', () => resolve()));
  lockstep?.events.on('write', () => {
    throw new Error('what fails behind the scenes');
  });
  await users.put('1', { name: 'Ada' });
  await users.get('1');
  await near.put('1', { name: 'Ada' });
  while ((await near.getVersioned('1')).from !== 'near');
  await users.get('2');
  await users.get('').catch(() => undefined);
  await users.put('', { name: '' }).catch(() => undefined);
  await store.foreignWrite('1', { name: 'Ada L.' });
  await relayed;
  const scrape = async () => (await fetch(`${worker.metricsUrl}/metrics`)).text();
  // Once the worker has seen who is alive.
  let text = '';
  while (!text.includes('lockstep_fleet_near_entries{')) text = await scrape();
  note(text);
  note(new PrometheusSerializer().serialize((await reader.collect()).resourceMetrics));
  instrumentation.disable();
  await worker.close();
});

/** What an expression reads, with the labels that it groups or selects by. Throws where it is no PromQL. */
function reads(expr: string): { readonly metrics: string[]; readonly labels: string[] } {
  const found = { metrics: [] as string[], labels: [] as string[] };
  parser.parse(expr).iterate({
    enter(node) {
      const own = expr.slice(node.from, node.to);
      if (node.type.isError) throw new Error(`no PromQL at ${node.from}: ${expr}`);
      if (node.name === 'Identifier' && node.node.parent?.name === 'VectorSelector') found.metrics.push(own);
      if (node.name === 'LabelName') found.labels.push(own);
    },
  });
  return found;
}

test.each([...panels, ...rules.map(({ alert, expr }) => [alert, expr] as const)])('%s', (_, expr) => {
  const { labels, metrics } = reads(expr);
  expect(metrics).not.toEqual([]);
  const known = new Set(metrics.flatMap((metric) => [...(scraped.get(metric) ?? [])]));
  for (const metric of metrics) expect([...scraped.keys()]).toContain(metric);
  for (const label of labels) expect([...known]).toContain(label);
});

test('what is no PromQL, and a metric that nobody has, would be seen', () => {
  expect(() => reads('sum by (feed) (rate(lockstep_relay')).toThrow('no PromQL');
  expect([...scraped.keys()]).not.toContain('lockstep_relay_lag');
});

test('every rule says what it means and what to do', () => {
  for (const { alert, annotations } of rules) {
    expect(annotations.summary, alert).toBeTruthy();
    expect(annotations.description, alert).toBeTruthy();
  }
});
