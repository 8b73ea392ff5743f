import type { Lockstep } from '@lockstep/core';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { Auditor } from './audit/auditor.js';
import { auditMetrics } from './audit/metrics.js';
import { fleetMetrics } from './fleet-metrics.js';
import type { Health } from './health.js';
import type { Recorder } from './recorder.js';
import { Sampler } from './sampler.js';

const BREAKER_STATES = ['closed', 'half-open', 'open'] as const;

/** The worker's metrics: counted from the engine's events, gauges asked for at each scrape. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #jobs: Counter;
  /** Sets the gauges. */
  readonly #look: () => Promise<void>;
  readonly #unsubscribe: (() => void)[] = [];
  readonly #text = new Sampler(() => this.#render());

  constructor(lockstep: Lockstep, health: Health, auditor: Auditor | undefined, recorder: Recorder) {
    const registers = [this.#registry];
    collectDefaultMetrics({ register: this.#registry });
    const counter = (name: string, help: string, labelNames: string[] = []): Counter =>
      new Counter({ name, help, labelNames, registers });
    const relayed = counter('lockstep_relay_changes_total', 'Changes that the relay handled', ['feed']);
    const floored = counter('lockstep_relay_floored_total', 'Of them: entries that were older', ['feed']);
    const queued = counter('lockstep_relay_queued_total', 'Of them: handed to the queue', ['feed']);
    const errors = counter('lockstep_errors_total', 'Failures behind the scenes', ['where']);
    const handovers = counter('lockstep_handover_jobs_total', 'Invalidations offered to the queue', [
      'taken',
    ]);
    this.#jobs = counter('lockstep_jobs_total', 'Attempts at jobs of the queue', ['result']);
    const flushes = counter('lockstep_flushes_total', 'Buffered writes that left the buffer', [
      'collection',
      'outcome',
    ]);
    const generations = counter('lockstep_cache_generations_total', 'Times the cache may have lost writes');
    const lag = new Histogram({
      name: 'lockstep_relay_lag_seconds',
      help: 'Age of the oldest change of a batch when its entries were dealt with',
      labelNames: ['feed'],
      buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60],
      registers,
    });
    const gauge = (name: string, help: string, labelNames: string[] = []): Gauge =>
      new Gauge({ name, help, labelNames, registers });
    const breaker = gauge(
      'lockstep_cache_breaker_state',
      'Circuit breaker in front of the cache: 0 closed, 1 half-open, 2 open',
    );
    breaker.set(0);
    this.#unsubscribe.push(
      lockstep.events.on('relay', (event) => {
        const labels = { feed: event.feed };
        relayed.inc(labels, event.changes);
        floored.inc(labels, event.floored);
        queued.inc(labels, event.queued);
        if (event.changes > 0) lag.observe(labels, event.lagMs / 1_000);
      }),
      lockstep.events.on('error', ({ where }) => errors.inc({ where })),
      lockstep.events.on('handover', ({ jobs, taken }) => handovers.inc({ taken: String(taken) }, jobs)),
      lockstep.events.on('flush', ({ collection, outcome }) => flushes.inc({ collection, outcome })),
      lockstep.events.on('flushRefused', ({ collection }) => flushes.inc({ collection, outcome: 'refused' })),
      lockstep.events.on('cacheGeneration', () => generations.inc()),
      lockstep.events.on('breaker', ({ state }) => breaker.set(BREAKER_STATES.indexOf(state))),
    );
    if (auditor !== undefined) auditMetrics(auditor, registers);
    const fleet = fleetMetrics(lockstep, recorder, registers);
    const own = this.#gauges(health, gauge);
    this.#look = async () => {
      fleet();
      await own();
    };
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** The text of a scrape, made at most once in a second. */
  text(): Promise<string> {
    return this.#text.sample();
  }

  async #render(): Promise<string> {
    // Before the first metric is read: each gauge would otherwise tell of the scrape before.
    await this.#look();
    return await this.#registry.metrics();
  }

  /** An attempt at a job of the queue. */
  job(result: 'handled' | 'failed'): void {
    this.#jobs.inc({ result });
  }

  #gauges(
    health: Health,
    gauge: (name: string, help: string, labelNames?: string[]) => Gauge,
  ): () => Promise<void> {
    const oldest = gauge(
      'lockstep_feed_oldest_seconds',
      'Age of the oldest change that nobody has dealt with',
      ['feed'],
    );
    const jobs = gauge('lockstep_queue_jobs', 'Jobs of the queue by state', ['state']);
    const enabled = gauge(
      'lockstep_cache_enabled',
      '0 while the cache is switched off for all processes, or in this one',
    );
    const ready = gauge('lockstep_ready', '1 when ready');
    const pending = gauge('lockstep_feed_pending', 'Changes that nobody has dealt with', ['feed']);
    const aside = gauge(
      'lockstep_feed_set_aside',
      'Changes that no cache could be told of, since the feed began',
      ['feed'],
    );
    const unflushed = gauge(
      'lockstep_unflushed_keys',
      'Keys with a buffered write that the store may not have',
      ['collection'],
    );
    return async () => {
      const status = await health.status();
      ready.set(status.ready ? 1 : 0);
      enabled.set(status.cache.enabled ? 1 : 0);
      // A server that does not answer has no figure, rather than its last one.
      for (const gauge of [pending, oldest, aside, jobs, unflushed]) gauge.reset();
      for (const feed of status.feeds) {
        if ('error' in feed) continue;
        pending.set({ feed: feed.name }, feed.pending);
        oldest.set({ feed: feed.name }, feed.oldestMs / 1_000);
        aside.set({ feed: feed.name }, feed.setAside ?? 0);
      }
      for (const [state, count] of Object.entries(status.queue ?? {})) jobs.set({ state }, count);
      for (const [collection, keys] of Object.entries(status.unflushed)) unflushed.set({ collection }, keys);
    };
  }

  close(): void {
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    this.#registry.clear();
  }
}
