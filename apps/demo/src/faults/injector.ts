import type { MongoService, RedisService } from '@lockstep/dev-services';
import { type Random, randomInt, systemMs } from '@lockstep/torture';
import { makeChange, type ProductChange } from '../products.js';
import type { ForeignWrite, ShopStore } from '../stores/store.js';
import type { Applications } from '../supervisor/applications.js';
import type { FactExchange } from '../supervisor/exchange.js';
import { FAULT_NAMES, type FaultName, isMongoFault, type MongoFault, REDIS_FAULTS } from './names.js';
import type { PlannedFault } from './schedule.js';

/** Something that was broken, for the timeline; `toMs` is `null` while it lasts. */
export interface FaultRecord {
  readonly number: number;
  readonly name: FaultName;
  /** Milliseconds since the epoch. */
  readonly fromMs: number;
  readonly toMs: number | null;
  readonly detail: string;
}

export interface InjectorOptions {
  readonly cache: RedisService | null;
  readonly queue: RedisService | null;
  readonly store: ShopStore;
  /** `null`: the store is another. */
  readonly mongo: MongoService | null;
  readonly applications: Applications;
  readonly exchange: FactExchange;
  readonly products: number;
  readonly random: Random;
  /** A relay runs, which gives versions to what other programs wrote, where the store does not. */
  readonly adopts: boolean;
}

/** Thrown when a fault can't be injected now; the message says why. */
export class FaultError extends Error {
  override readonly name = 'FaultError';
}

const MAX_RECORDS = 200;

type Fault = Pick<PlannedFault, 'name' | 'forMs' | 'variant'>;

/** How long a server that is mended is left alone by the next planned fault, in ms. */
const CALM_MS = 3_000;

/** Faults of one lane are injected one at a time. */
function laneOf(name: FaultName): string {
  if (isMongoFault(name)) return 'mongo';
  return REDIS_FAULTS.some((one) => one === name) ? 'redis' : name;
}

/** Breaks things, and counts what it broke. */
export class FaultInjector {
  readonly #options: InjectorOptions;
  readonly #counts = new Map<FaultName, number>();
  readonly #open = new Set<Promise<unknown>>();
  /** The last planned fault of each lane. */
  readonly #lines = new Map<string, Promise<void>>();
  readonly #cutShort = new Set<() => void>();
  #records: FaultRecord[] = [];
  #number = 0;
  #redisBusy = false;
  #mongoBusy = false;
  /** Kills of applications under way. */
  #killing = 0;

  constructor(options: InjectorOptions) {
    this.#options = options;
  }

  get counts(): Record<string, number> {
    return Object.fromEntries(
      FAULT_NAMES.flatMap((name) => {
        const count = this.#counts.get(name);
        return count === undefined ? [] : [[name, count]];
      }),
    );
  }

  get records(): readonly FaultRecord[] {
    return this.#records;
  }

  /** True when a process of that name ended because this killed it. */
  expects(name: string): boolean {
    return this.#killing > 0 && name.startsWith('app-');
  }

  /** Does one; resolves when it is over. Rejects with `FaultError`. */
  inject(fault: Fault): Promise<void> {
    return this.#opened(this.#inject(fault));
  }

  /** As `inject`, but behind the planned ones of the same server that are not over: a busy machine mends them late. */
  injectInLine(fault: Fault): Promise<void> {
    const lane = laneOf(fault.name);
    const done = (this.#lines.get(lane) ?? Promise.resolve()).then(() => this.#inject(fault));
    const calm = () => new Promise<void>((resolve) => void setTimeout(resolve, CALM_MS).unref());
    this.#lines.set(lane, done.then(calm, calm));
    return this.#opened(done);
  }

  #opened(done: Promise<void>): Promise<void> {
    this.#open.add(done);
    void done.catch(() => undefined).finally(() => this.#open.delete(done));
    return done;
  }

  /** A plain statement of another program, which knows nothing of the cache. Returns what it left. */
  async foreignWrite(id?: number): Promise<{ id: number; version: number } | undefined> {
    const { store, exchange, random, products, adopts } = this.#options;
    const chosen = id ?? randomInt(random, 1, products);
    const written = await (adopts
      ? store.foreignUpdate(chosen, makeChange(random))
      : this.#unadopted(chosen, makeChange(random)));
    if (written === undefined) return undefined;
    const atMs = systemMs();
    this.#count('foreign-write');
    const last = this.#records.findLast((record) => record.name === 'foreign-write');
    // Many a second make one mark.
    if (last === undefined || Date.now() - last.fromMs > 500) {
      this.#end(this.#begin('foreign-write', `product ${chosen}`));
    }
    const version = await written.version();
    if (version === undefined) return undefined;
    if (chosen <= products) exchange.tell('late-put', chosen - 1, version, atMs);
    return { id: chosen, version };
  }

  async #unadopted(id: number, change: ProductChange): Promise<ForeignWrite | undefined> {
    const row = await this.#options.store.plain.update(id, change);
    return row === undefined ? undefined : { version: async () => row.version };
  }

  /** Ends what lasts, and waits until everything is mended. */
  async settle(): Promise<void> {
    for (const cut of this.#cutShort) cut();
    await Promise.allSettled(this.#open);
  }

  async #inject({ name, forMs, variant }: Fault): Promise<void> {
    const { cache, queue, applications, random } = this.#options;
    if (name === 'foreign-write') {
      await this.foreignWrite();
    } else if (name === 'app-kill') {
      const record = this.#begin(name, variant ? 'between commit and cache update' : 'at any moment');
      this.#killing += 1;
      const killed = await applications.kill(randomInt(random, 0, 1_000), variant).finally(() => {
        this.#killing -= 1;
      });
      this.#end(record, killed);
      if (killed === undefined) throw new FaultError('no application process is running');
      this.#count(name);
    } else if (isMongoFault(name)) {
      await this.#mongo(name, forMs);
    } else {
      await this.#redis(name, name === 'queue-kill' ? queue : cache, forMs, variant);
    }
  }

  async #redis(
    name: FaultName,
    service: RedisService | null,
    forMs: number,
    keepData: boolean,
  ): Promise<void> {
    const server = service?.process;
    if (server === undefined)
      throw new FaultError('this Redis was not started here, so it is not broken here');
    if (this.#redisBusy) throw new FaultError('Redis is broken already');
    this.#redisBusy = true;
    const freeze = name === 'redis-freeze';
    // The queue's Redis is a record of its own and keeps its data.
    const keep = keepData || name === 'queue-kill';
    const record = this.#begin(
      name,
      freeze ? 'SIGSTOP' : keep ? 'kill -9, back with its data' : 'kill -9, back empty',
    );
    try {
      if (freeze) server.freeze();
      else await server.kill();
      this.#count(name);
      await this.#last(forMs);
    } finally {
      if (freeze) server.thaw();
      else await server.restart({ keepData: keep });
      this.#redisBusy = false;
      this.#end(record);
    }
  }

  async #mongo(name: MongoFault, forMs: number): Promise<void> {
    const { mongo } = this.#options;
    if (mongo === null) throw new FaultError('the store is not MongoDB');
    if (mongo.members.length === 0) {
      throw new FaultError('this MongoDB was not started here, so it is not broken here');
    }
    if (this.#mongoBusy) throw new FaultError('MongoDB is broken already');
    this.#mongoBusy = true;
    const record = this.#begin(name, name === 'mongo-kill' ? 'kill -9, back with its data' : 'step-down');
    let primary: string | undefined;
    try {
      const server = await mongo.primary();
      primary = `the primary at ${server.port}`;
      if (name === 'mongo-stepdown') {
        await mongo.stepDown();
        this.#count(name);
      } else {
        await server.kill();
        this.#count(name);
        await this.#last(forMs);
        await server.restart({ keepData: true });
      }
    } catch (error) {
      primary = `failed: ${error instanceof Error ? error.message : String(error)}`;
      throw new FaultError(`${name} ${primary}`, { cause: error });
    } finally {
      this.#mongoBusy = false;
      this.#end(record, primary);
    }
  }

  async #last(forMs: number): Promise<void> {
    const over = Promise.withResolvers<void>();
    const timer = setTimeout(over.resolve, forMs);
    this.#cutShort.add(over.resolve);
    await over.promise;
    clearTimeout(timer);
    this.#cutShort.delete(over.resolve);
  }

  #count(name: FaultName): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1);
  }

  #begin(name: FaultName, detail: string): FaultRecord {
    this.#number += 1;
    const record = { number: this.#number, name, fromMs: Date.now(), toMs: null, detail };
    this.#records = [...this.#records, record].slice(-MAX_RECORDS);
    return record;
  }

  #end(record: FaultRecord, detail?: string): void {
    const ended = {
      ...record,
      toMs: Date.now(),
      detail: detail === undefined ? record.detail : `${detail}, ${record.detail}`,
    };
    this.#records = this.#records.map((one) => (one.number === record.number ? ended : one));
  }
}
