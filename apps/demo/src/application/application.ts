import { setTimeout as pause } from 'node:timers/promises';
import {
  FactBuffer,
  FreshnessChecker,
  factsOf,
  ListChecker,
  seededRandom,
  systemMs,
  UNKNOWN_GROUP,
} from '@lockstep/torture';
import type { EngineHooks, ShopEngine } from '../engines/engine.js';
import { knownMixes, type LoadSource, streamsOf } from '../load/source.js';
import { readTrace } from '../load/trace.js';
import { Meter } from '../measure.js';
import type { ApplicationConfig, ApplicationReport, Rates, WindowView } from '../messages.js';
import { LOOPBACK } from '../naming.js';
import { openStore } from '../stores/open.js';
import type { ShopStore } from '../stores/store.js';
import { shopApi } from './api.js';
import { type AuditReport, audit } from './audit.js';
import { Catalogue } from './catalogue.js';
import { type ShopClient, shopClient } from './client.js';
import { openEngine } from './engine.js';
import { Generator } from './generator.js';
import { type Inspection, inspect } from './inspect.js';
import { isStillSo, Window } from './window.js';

const WARM_BATCH = 500;
/** A process that is recorded beside others fills nothing for some seconds. */
const MAX_WARM_MS = 10_000;
const BETWEEN_LOOKS_MS = 50;

/** One application process: the catalogue, its HTTP API, a generator that plays the customers, the checker. */
export class Application {
  readonly #config: ApplicationConfig;
  readonly #meter: Meter;
  readonly #facts: FactBuffer;
  readonly #checker: FreshnessChecker;
  readonly #lists: ListChecker;
  readonly #window: Window;
  readonly #store: ShopStore;
  readonly #engine: ShopEngine;
  readonly #source: LoadSource;
  readonly #state: State;
  readonly #catalogue: Catalogue;
  readonly #api: ReturnType<typeof shopApi>;
  #client: ShopClient | undefined;
  #generator: Generator | undefined;

  private constructor(config: ApplicationConfig, parts: Parts) {
    this.#config = config;
    this.#meter = parts.meter;
    this.#store = parts.store;
    this.#engine = parts.engine;
    this.#source = parts.source;
    this.#state = parts.state;
    this.#facts = new FactBuffer();
    this.#checker = new FreshnessChecker({
      ...config.allowances,
      products: config.products,
      onSeen: (kind, index, version, atMs) => {
        this.#lists.fact({ kind, index, version, atMs, group: UNKNOWN_GROUP, rank: 0 });
        this.#facts.add(kind, index, version, atMs);
      },
    });
    this.#lists = new ListChecker({
      ...config.allowances,
      isStillSo: (lacking) => isStillSo(this.#store, config.products, lacking),
    });
    const judged = {
      engine: this.#engine,
      checker: this.#checker,
      lists: this.#lists,
      facts: this.#facts,
      meter: this.#meter,
      products: config.products,
    };
    this.#window = new Window(judged);
    this.#catalogue = new Catalogue({ ...judged, tellNow: parts.tellNow });
    this.#api = shopApi(this.#catalogue, this.#meter);
  }

  /** `tellNow` has the facts so far reported at once. */
  static async start(config: ApplicationConfig, tellNow: () => void): Promise<Application> {
    const meter = new Meter();
    const state: State = { warming: false, warmedRows: 0, diesInWrite: false, breaker: 'closed' };
    const store = openStore(config.store);
    const engine = await openEngine(config, store, hooksFor(meter, state));
    const source = await openSource(config);
    const application = new Application(config, { meter, store, engine, source, state, tellNow });
    await application.#api.listen({ host: LOOPBACK, port: config.port });
    application.#client = shopClient(`http://${LOOPBACK}:${application.port}`, meter);
    application.#generator = new Generator({
      catalogue: application.#catalogue,
      window: application.#window,
      products: config.products,
      client: application.#client,
      meter,
      random: seededRandom(config.seed, 500_000 + config.process + 1_000 * config.life),
    });
    return application;
  }

  get port(): number {
    const address = this.#api.server.address();
    if (address === null || typeof address === 'string') throw new Error('the API does not listen');
    return address.port;
  }

  /**
   * Fills the cache; its statements are counted apart. A worker that finds a new cache goes through all recent
   * changes, the seeding among them, and what it invalidates under a load's hands is not filled: such products
   * are asked for again, until one look finds everything there.
   */
  async warm(from: number, to: number): Promise<void> {
    this.#state.warming = true;
    try {
      const until = performance.now() + MAX_WARM_MS;
      for (;;) {
        this.#state.warmedRows = 0;
        for (let id = from; id <= to; id += WARM_BATCH) {
          const length = Math.min(WARM_BATCH, to - id + 1);
          await this.#engine.warm(Array.from({ length }, (_, i) => id + i));
        }
        if (this.#state.warmedRows === 0 || performance.now() > until) break;
        await pause(BETWEEN_LOOKS_MS);
      }
    } finally {
      this.#state.warming = false;
    }
  }

  load(rates: Rates): void {
    const { products, seed, processes, process, life } = this.#config;
    this.#generator?.run(streamsOf(this.#source, { ...rates, products, seed, processes, process, life }));
  }

  async unload(): Promise<void> {
    await this.#generator?.stop();
    await this.#engine.drain();
  }

  hear(facts: Float64Array | null, horizonMs: number): void {
    if (facts !== null) {
      for (const fact of factsOf(facts)) {
        this.#checker.fact(fact);
        this.#lists.fact(fact);
      }
    }
    void this.judge(horizonMs);
  }

  outages(list: Parameters<FreshnessChecker['outages']>[0]): void {
    this.#checker.outages(list);
    this.#lists.outages(list);
  }

  /** Resolves when nothing is asked of the store for a verdict any more. */
  async judge(horizonMs: number): Promise<void> {
    const untilMs = Math.min(horizonMs, systemMs());
    this.#checker.judge(untilMs);
    this.#lists.judge(untilMs);
    await this.#lists.settled();
  }

  async window(category: string, id: number): Promise<WindowView> {
    const [products, page] = await Promise.all([this.#window.list(category), this.#window.page(id)]);
    return { products, page };
  }

  /** The next write of this process is its last: committed, and the cache not told. */
  dieMidWrite(): void {
    this.#state.diesInWrite = true;
  }

  report(): ApplicationReport {
    // Taken first: whatever is told after it belongs to the next report.
    const markMs = systemMs();
    return {
      markMs,
      facts: this.#facts.take(),
      measures: this.#meter.take(),
      verdicts: this.#checker.verdicts,
      stale: this.#checker.samples.slice(),
      lists: this.#lists.verdicts,
      staleLists: this.#lists.samples.slice(),
      breaker: this.#state.breaker,
    };
  }

  audit(): Promise<AuditReport> {
    return audit(this.#engine, this.#store.plain);
  }

  inspect(id: number): Promise<Inspection> {
    return inspect(this.#engine, this.#store.plain, id);
  }

  async stop(): Promise<void> {
    await this.#generator?.stop();
    this.#client?.close();
    await this.#api.close();
    await this.#engine.close();
    await this.#store.close();
  }
}

interface Parts {
  readonly meter: Meter;
  readonly store: ShopStore;
  readonly engine: ShopEngine;
  readonly source: LoadSource;
  readonly state: State;
  readonly tellNow: () => void;
}

interface State {
  warming: boolean;
  /** Rows that the look under way had from the store. */
  warmedRows: number;
  diesInWrite: boolean;
  breaker: ApplicationReport['breaker'];
}

function hooksFor(meter: Meter, state: State): EngineHooks {
  return {
    storeRead(rows) {
      meter.count(state.warming ? 'warmupQueries' : 'storeQueries');
      if (state.warming) state.warmedRows += rows;
      else meter.count('storeRows', rows);
    },
    viewLoaded() {
      meter.count('viewLoads');
    },
    committed() {
      if (state.diesInWrite) process.kill(process.pid, 'SIGKILL');
    },
    writeTimes(storeMs, cacheMs) {
      meter.time('writeStoreMs', storeMs);
      meter.time('writeCacheMs', cacheMs);
    },
    breaker(now) {
      state.breaker = now;
    },
    backgroundError(where, error) {
      meter.backgroundError(`application: ${where}`, error);
    },
  };
}

async function openSource({ trace, mix: name, zipf }: ApplicationConfig): Promise<LoadSource> {
  if (trace !== null) return { trace: await readTrace(trace) };
  const mix = (await knownMixes()).get(name);
  if (mix === undefined) throw new Error(`no mix ${name}`);
  return { mix: zipf === null ? mix : { ...mix, zipfExponent: zipf } };
}
