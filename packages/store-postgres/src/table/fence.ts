import { type StoreCallOptions, type StoreFence, StoreTimeoutError } from '@lockstep/core';
import { arrayText } from '../wire/arrays.js';
import type { Row, Statement } from '../wire/pipeline.js';
import type { Statements } from '../write/statements/statements.js';

/** A call whose parameters are texts. */
export interface TableCall {
  readonly statement: Statement;
  readonly values: string[];
}

export interface FenceParts {
  readonly nowMs: StoreFence['nowMs'];
  /** Those of the open table. */
  readonly statements: () => Promise<Statements>;
  readonly send: (call: TableCall, options: StoreCallOptions) => Promise<readonly Row[]>;
}

/** Writers' and readers' locks on keys: a key without a row has none of its own. */
export function tableFence({ nowMs, send, statements }: FenceParts): StoreFence {
  return {
    nowMs,
    async enter(keys, options) {
      await send({ statement: (await statements()).lockShared(), values: [arrayText(keys)] }, options);
    },
    async settle(key, options) {
      const statement = (await statements()).lockAlone();
      try {
        // In a transaction of its own: a snapshot of a read's might be older than what it waits for.
        await send({ statement, values: [key] }, options);
        return true;
      } catch (error) {
        if (error instanceof StoreTimeoutError) return false;
        throw error;
      }
    },
  };
}
