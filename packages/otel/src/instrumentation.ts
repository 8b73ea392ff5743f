import { readFileSync } from 'node:fs';
import type { Lockstep } from '@lockstep/core';
import {
  type Meter,
  type MeterProvider,
  metrics,
  type Tracer,
  type TracerProvider,
  trace,
} from '@opentelemetry/api';
import { subscribeMetrics } from './metrics.js';
import { observeNear } from './near.js';
import { subscribeSpans } from './spans.js';

const NAME = '@lockstep/otel';
const { version: VERSION } = JSON.parse(
  readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
) as { readonly version: string };

/** What is to be measured. */
export interface LockstepInstrumentationConfig {
  /** Subscribe when it is made. @defaultValue true */
  readonly enabled?: boolean;
  /** Make spans. @defaultValue true */
  readonly spans?: boolean;
  /** Record metrics. @defaultValue true */
  readonly metrics?: boolean;
}

const OPTIONS = ['enabled', 'spans', 'metrics'] as const;

/**
 * Turns what Lockstep tells on its diagnostics channels into spans and metrics, for every Lockstep of the process. It has
 * the form that `registerInstrumentations` of `@opentelemetry/instrumentation` takes, and works as well by itself.
 * Nothing that it records holds a key, an id or a value.
 */
export class LockstepInstrumentation {
  readonly instrumentationName = NAME;
  readonly instrumentationVersion = VERSION;
  #config: LockstepInstrumentationConfig = {};
  #tracers: TracerProvider | undefined;
  #meters: MeterProvider | undefined;
  #unsubscribe: (() => void)[] = [];
  readonly #observed = new Set<Pick<Lockstep, 'status'>>();

  /** Throws `TypeError` for an option that it does not know. */
  constructor(config: LockstepInstrumentationConfig = {}) {
    this.setConfig(config);
    if (config.enabled !== false) this.enable();
  }

  /** Subscribes; again: does nothing. */
  enable(): void {
    if (this.#unsubscribe.length > 0) return;
    const { metrics: wantsMetrics = true, spans = true } = this.#config;
    if (spans) this.#unsubscribe.push(subscribeSpans(() => this.#tracer()));
    if (!wantsMetrics) return;
    this.#unsubscribe.push(subscribeMetrics(() => this.#meter()));
    this.#unsubscribe.push(observeNear(this.#meter(), this.#observed));
  }

  /** Unsubscribes: from then on a call costs what it costs without. */
  disable(): void {
    for (const each of this.#unsubscribe.splice(0)) each();
  }

  /** Tells the near entries of this Lockstep, too, which no channel does. Returns what ends that: call it before the Lockstep is closed. */
  observe(lockstep: Pick<Lockstep, 'status'>): () => void {
    this.#observed.add(lockstep);
    return () => void this.#observed.delete(lockstep);
  }

  setTracerProvider(provider: TracerProvider): void {
    this.#tracers = provider;
  }

  setMeterProvider(provider: MeterProvider): void {
    this.#meters = provider;
    this.#again();
  }

  getConfig(): LockstepInstrumentationConfig {
    return this.#config;
  }

  /** Takes effect at once where it is enabled. Throws `TypeError` for an option that it does not know. */
  setConfig(config: LockstepInstrumentationConfig): void {
    for (const [key, value] of Object.entries(config)) {
      if (!OPTIONS.includes(key as never))
        throw new TypeError(`LockstepInstrumentation: unknown option ${key}`);
      if (value !== undefined && typeof value !== 'boolean') {
        throw new TypeError(`LockstepInstrumentation: ${key} must be true or false`);
      }
    }
    this.#config = config;
    this.#again();
  }

  #again(): void {
    if (this.#unsubscribe.length === 0) return;
    this.disable();
    this.enable();
  }

  #tracer(): Tracer {
    return (this.#tracers ?? trace).getTracer(NAME, VERSION);
  }

  #meter(): Meter {
    return (this.#meters ?? metrics).getMeter(NAME, VERSION);
  }
}
