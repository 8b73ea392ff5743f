import { AsyncLocalStorage, createHook } from 'node:async_hooks';
import { type Debugger, type Profiler, Session } from 'node:inspector';
import { turns } from './shop.js';

const ENGINE = new URL('../../src/', import.meta.url).href;

/**
 * The engine's functions that were entered between two moments, one name for each time. Exact: V8 counts the calls.
 * What is the test's own (adapters, the clock) does not count.
 */
export class FunctionCounter {
  readonly #session = new Session();

  constructor() {
    this.#session.connect();
    this.#post('Debugger.enable');
    this.#post('Profiler.enable');
    this.#post('Profiler.startPreciseCoverage', { callCount: true, detailed: false });
  }

  start(): void {
    this.#post('Profiler.takePreciseCoverage');
  }

  /** Those since `start`. */
  take(): string[] {
    const { result } = this.#post<Profiler.TakePreciseCoverageReturnType>('Profiler.takePreciseCoverage');
    const entered: string[] = [];
    for (const { functions, scriptId, url } of result) {
      if (!url.startsWith(ENGINE)) continue;
      const { scriptSource } = this.#post<Debugger.GetScriptSourceReturnType>('Debugger.getScriptSource', {
        scriptId,
      });
      for (const { functionName, ranges } of functions) {
        const [{ count, endOffset, startOffset } = { count: 0, endOffset: 0, startOffset: 0 }] = ranges;
        if (count === 0 || isExport(scriptSource.slice(startOffset, endOffset))) continue;
        const name = `${url.slice(ENGINE.length).replace(/\?.*$/, '')} ${functionName || 'anonymous'}`;
        entered.push(...new Array<string>(count).fill(name));
      }
    }
    return entered;
  }

  close(): void {
    this.#session.disconnect();
  }

  #post<Result>(method: string, params: object = {}): Result {
    let result: Result | undefined;
    this.#session.post(method, params, (error, answer) => {
      if (error !== null) throw error;
      result = answer as Result;
    });
    return result as Result;
  }
}

/** The test runner's own: a module's exports are getters. */
function isExport(source: string): boolean {
  return /^\(\)\s*=>\s*(\{\s*)?(try\s*\{\s*)?(return\s+)?\w+;?\s*\}?/.test(source) && source.length < 60;
}

/**
 * The promises that a call makes, and what it starts, until all of it is over that waits for nothing but its turn;
 * `await` makes one, too. The test runner's own do not count.
 */
export async function promisesOf(call: () => Promise<unknown>): Promise<number> {
  const own = new AsyncLocalStorage<true>();
  let made = 0;
  const hook = createHook({
    init(_id, type) {
      if (type === 'PROMISE' && own.getStore()) made++;
    },
  }).enable();
  // A rejection fails the test as unhandled: to catch it would make one more.
  own.run(true, () => void call());
  await turns();
  hook.disable();
  return made;
}
