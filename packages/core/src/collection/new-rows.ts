import type { Transaction } from '../contracts/options.js';
import type { NewRow } from '../contracts/rows.js';
import { StoreContractError } from '../errors.js';
import { Batcher } from '../kit/batcher.js';
import { asStoreError } from '../read/loader.js';
import type { CallContext } from './call-context.js';
import { withinStoreTime } from './store-time.js';

/** The most keys that are drawn in one call of the store. */
const MAX_BATCH = 512;

/**
 * The keys of rows that are to be created. Drawn before the row is written, so that the cache can be prepared for the
 * write as for any other; what is asked for at the same time travels together.
 */
export class NewRowDraws<Value> {
  readonly #context: CallContext<Value, never>;
  readonly #batcher: Batcher<Value, NewRow<Value>>;

  constructor(context: CallContext<Value, never>) {
    const { clock, settings, store } = context;
    this.#context = context;
    this.#batcher = new Batcher({
      waitsForTurn: 'never',
      maxItems: store.capabilities.batching ? MAX_BATCH : 1,
      maxInFlight: settings.batch.maxInFlight,
      maxWaiting: settings.batch.maxWaiting,
      clock,
      errorOf: (error) => asStoreError(error, settings.name, 'not-committed'),
      call: async (values) => this.#checked(values, await this.#draw(values)),
    });
  }

  /** Rejects as the store does. */
  draw(value: Value, tx: Transaction | undefined): Promise<NewRow<Value>> {
    return tx === undefined ? this.#batcher.ask(value) : this.#drawIn(value, tx);
  }

  async #draw(values: readonly Value[]): Promise<readonly unknown[] | undefined> {
    const { settings, store } = this.#context;
    const drawing = store.newRows?.(values, { timeoutMs: settings.storeTimeoutMs });
    return drawing instanceof Promise ? await withinStoreTime(this.#context, drawing) : drawing;
  }

  async #drawIn(value: Value, tx: Transaction): Promise<NewRow<Value>> {
    const { settings, store, writes } = this.#context;
    const rows = await writes.inside.call(tx, async (storeTx) =>
      store.newRows?.([value], { timeoutMs: settings.storeTimeoutMs, tx: storeTx }),
    );
    const [row] = this.#checked([value], rows);
    if (row instanceof Error || row === undefined) throw asStoreError(row, settings.name, 'not-committed');
    return row;
  }

  #checked(values: readonly Value[], rows: readonly unknown[] | undefined): (NewRow<Value> | Error)[] {
    const { settings, store } = this.#context;
    if (rows?.length === values.length) return rows as (NewRow<Value> | Error)[];
    const message = `${store.name}: ${rows?.length ?? 'no'} new rows for ${values.length} values`;
    throw new StoreContractError(message, { collection: settings.name });
  }
}
