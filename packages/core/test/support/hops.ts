import { AsyncLocalStorage, createHook, executionAsyncId } from 'node:async_hooks';
import { type Debugger, type Profiler, Session } from 'node:inspector';
import { turns } from './shop.js';

const ENGINE = new URL('../../src/', import.meta.url).href;

/**
 * The engine's functions that were entered between two moments, one name for each time. Exact: V8 counts the calls.
 * What is the test's own (adapters, the clock) does not count, nor do constructors.
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
        // An object of a class takes no more than a literal's.
        if (functionName === '<instance_members_initializer>' || /^[A-Z]/.test(functionName)) continue;
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

/**
 * The functions through which control came here from a call that began after this was made: those on the stack, those
 * that were on it when this was put off until later, and so on. What they called and came back from is not among them.
 */
export class WayHere {
  readonly #origins = new Map<number, { readonly stack: readonly string[]; readonly from: number }>();
  readonly #hook = createHook({
    init: (id) => void this.#origins.set(id, { stack: engineStack(), from: executionAsyncId() }),
  });

  start(): void {
    this.#hook.enable();
  }

  /** The nearest first. */
  take(): string[] {
    this.#hook.disable();
    const way = engineStack();
    for (let from = executionAsyncId(); ; ) {
      const origin = this.#origins.get(from);
      if (origin === undefined) return way;
      way.push(...origin.stack);
      from = origin.from;
    }
  }
}

function engineStack(): string[] {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 100;
  const stack = new Error().stack ?? '';
  Error.stackTraceLimit = stackTraceLimit;
  return stack.split('\n').flatMap((line) => {
    const [, name, file] =
      /at (?:async )?(.*?) ?\(?(?:file:\/\/)?[^ (]*\/core\/src\/([^:?]*)/.exec(line) ?? [];
    return file === undefined ? [] : [`${file} ${name}`];
  });
}
