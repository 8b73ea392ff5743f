import { PeerGoneError } from '../ipc.js';
import type {
  ApplicationCalls,
  ApplicationConfig,
  ApplicationNews,
  ApplicationTells,
  Rates,
} from '../messages.js';
import type { ExchangeMember, FactExchange } from './exchange.js';
import { ManagedProcess } from './managed-process.js';
import type { Totals } from './totals.js';

const START_MS = 120_000;
const LONG_MS = 120_000;
const INSPECT_MS = 5_000;
/** Starts in a row that may fail before a slot is given up. */
const MAX_FAILED_STARTS = 5;

type Child = ManagedProcess<ApplicationCalls, ApplicationNews, ApplicationTells>;

/** An application process for people and outside tools. */
export interface ApplicationStatus {
  readonly name: string;
  readonly pid: number;
  readonly port: number;
  readonly url: string;
  readonly state: 'starting' | 'running' | 'down';
  readonly restarts: number;
  /** The state of the cache's circuit breaker in this process. */
  readonly breaker: string;
  readonly reads: number;
  readonly writes: number;
}

interface Slot {
  readonly number: number;
  child: Child | undefined;
  state: ApplicationStatus['state'];
  port: number;
  life: number;
  breaker: string;
  reads: number;
  writes: number;
}

export interface ApplicationsOptions {
  readonly count: number;
  readonly config: Omit<ApplicationConfig, 'process' | 'processes' | 'life' | 'port'>;
  readonly exchange: FactExchange;
  readonly totals: Totals;
  /** Told of a process that ended without having been asked to. */
  readonly onExit: (name: string, how: string) => void;
}

/** The application processes: started, started again when they die, always on their own port. */
export class Applications {
  readonly #options: ApplicationsOptions;
  readonly #slots: Slot[];
  #rates: Rates | undefined;
  #ending = false;

  constructor(options: ApplicationsOptions) {
    this.#options = options;
    this.#slots = Array.from({ length: options.count }, (_, number) => ({
      number,
      child: undefined,
      state: 'starting',
      port: 0,
      life: 0,
      breaker: 'closed',
      reads: 0,
      writes: 0,
    }));
  }

  async start(): Promise<void> {
    await Promise.all(this.#slots.map((slot) => this.#start(slot)));
  }

  get statuses(): ApplicationStatus[] {
    return this.#slots.map((slot) => ({
      name: nameOf(slot),
      pid: slot.child?.pid ?? 0,
      port: slot.port,
      url: `http://127.0.0.1:${slot.port}`,
      state: slot.state,
      restarts: slot.life,
      breaker: slot.breaker,
      reads: slot.reads,
      writes: slot.writes,
    }));
  }

  /** Spreads products 1 to `products` over all processes. */
  async warm(products: number): Promise<void> {
    const share = Math.ceil(products / this.#slots.length);
    await this.#all('warm', (slot) => ({
      from: slot.number * share + 1,
      to: Math.min(products, (slot.number + 1) * share),
    }));
  }

  /** Sets the load of all processes, those that start later included. */
  async load(rates: Rates): Promise<void> {
    this.#rates = rates;
    await this.#all('load', () => rates);
  }

  /** Ends the load; all reports are in when it resolves. */
  async unload(): Promise<void> {
    this.#rates = undefined;
    // One that is just being started again must not begin after the end.
    await Promise.all(this.#slots.map((slot) => this.#settled(slot)));
    await this.#all('unload', () => null);
  }

  async judge(horizonMs: number): Promise<void> {
    await this.#all('judge', () => ({ horizonMs }));
  }

  audit(): Promise<ApplicationCalls['audit']['reply']> {
    return this.#any('audit', null, LONG_MS);
  }

  inspect(id: number): Promise<ApplicationCalls['inspect']['reply']> {
    return this.#any('inspect', { id }, INSPECT_MS);
  }

  window(category: string, id: number): Promise<ApplicationCalls['window']['reply']> {
    return this.#any('window', { category, id }, INSPECT_MS);
  }

  /** Kills one that runs; resolves when it is gone, with its name, or `undefined` when none runs. */
  async kill(number: number, midWrite: boolean): Promise<string | undefined> {
    const running = this.#slots.filter((slot) => slot.state === 'running');
    const slot = running[number % Math.max(1, running.length)];
    const child = slot?.child;
    if (slot === undefined || child === undefined) return undefined;
    if (midWrite) {
      child.peer.tell('dieMidWrite', null);
      // Without a write under way there is no middle of a write to be killed in.
      const timer = setTimeout(() => child.kill(), 1_000);
      await child.exited;
      clearTimeout(timer);
    } else {
      child.kill();
      await child.exited;
    }
    return nameOf(slot);
  }

  async stop(): Promise<void> {
    this.#ending = true;
    await Promise.all(
      this.#slots.map(
        ({ child }) => child?.end(() => child.peer.call('stop', null, 3_000)) ?? Promise.resolve(),
      ),
    );
  }

  async #start(slot: Slot): Promise<void> {
    const { config, count, exchange, totals } = this.#options;
    slot.state = 'starting';
    const child: Child = new ManagedProcess('../application/main.js');
    slot.child = child;
    const member: ExchangeMember = {
      facts: (facts, horizonMs) => child.peer.tell('facts', { facts, horizonMs }),
      outages: (list) => child.peer.tell('outages', list),
    };
    const life = `${nameOf(slot)}/${slot.life}`;
    child.peer.hear('report', (report) => {
      totals.add(report.measures);
      totals.judge(life, report);
      slot.breaker = report.breaker;
      slot.reads += report.measures.counts.reads;
      slot.writes += report.measures.counts.writes;
      exchange.report(member, report.facts, report.markMs);
    });
    exchange.join(member);
    void child.exited.then((how) => {
      exchange.leave(member);
      this.#exited(slot, how);
    });
    const whole = { ...config, process: slot.number, processes: count, life: slot.life, port: slot.port };
    slot.port = (await child.peer.call('start', whole, START_MS)).port;
    slot.state = 'running';
    if (this.#rates !== undefined) await child.peer.call('load', this.#rates, START_MS);
  }

  #exited(slot: Slot, how: string): void {
    const ran = slot.state === 'running';
    slot.state = 'down';
    if (this.#ending || !ran) return;
    this.#options.onExit(nameOf(slot), how);
    void this.#again(slot);
  }

  async #again(slot: Slot): Promise<void> {
    for (let attempt = 1; attempt <= MAX_FAILED_STARTS && !this.#ending; attempt += 1) {
      slot.life += 1;
      try {
        return await this.#start(slot);
      } catch (error) {
        this.#options.onExit(nameOf(slot), error instanceof Error ? error.message : String(error));
      }
    }
  }

  async #settled(slot: Slot): Promise<void> {
    const deadline = performance.now() + START_MS;
    while (slot.state === 'starting' && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  async #all<Name extends keyof ApplicationCalls>(
    name: Name,
    argument: (slot: Slot) => ApplicationCalls[Name]['argument'],
  ): Promise<void> {
    const running = this.#slots.filter((slot) => slot.state === 'running');
    await Promise.all(
      running.map(async (slot) => {
        const { child } = slot;
        if (child === undefined) return;
        try {
          await child.peer.call(name, argument(slot), LONG_MS);
        } catch (error) {
          // One that was killed meanwhile is told when it is back.
          if (!(error instanceof PeerGoneError)) throw error;
        }
      }),
    );
  }

  /** Asks one that runs, and another if that one dies meanwhile. */
  async #any<Name extends 'audit' | 'inspect' | 'window'>(
    name: Name,
    argument: ApplicationCalls[Name]['argument'],
    timeoutMs: number,
  ): Promise<ApplicationCalls[Name]['reply']> {
    for (const { state, child } of this.#slots) {
      if (state !== 'running' || child === undefined) continue;
      try {
        return await child.peer.call(name, argument, timeoutMs);
      } catch (error) {
        if (!(error instanceof PeerGoneError)) throw error;
      }
    }
    throw new Error('no application process is running');
  }
}

function nameOf(slot: Slot): string {
  return `app-${slot.number + 1}`;
}
