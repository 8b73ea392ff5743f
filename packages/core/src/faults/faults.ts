import type { FaultCall } from './call.js';

/** A fault that fits every call. */
export type AnyFault = <Input, Output>(call: FaultCall<Input, Output>) => Promise<Output>;

/** The handle of calls that are held. */
export interface Gate {
  /** Resolves when the first call is held. */
  readonly reached: Promise<void>;
  /** Lets all held calls go on, and later ones pass. */
  release(): void;
}

/** @param make gets what holds a call until `release` */
function gated(make: (hold: () => Promise<void>) => AnyFault): AnyFault & Gate {
  const reached = Promise.withResolvers<void>();
  const released = Promise.withResolvers<void>();
  const fault = make(() => {
    reached.resolve();
    return released.promise;
  });
  return Object.assign(fault, { reached: reached.promise, release: released.resolve });
}

/** Nothing takes effect; the caller gets `error`, or the adapter's own. */
export function refuse(error?: Error): AnyFault {
  return async (call) => {
    throw error ?? call.refusal();
  };
}

/** Nothing takes effect, and the caller can't know; it gets `error`, or the adapter's own. */
export function loseCommand(error?: Error): AnyFault {
  return async (call) => {
    throw error ?? call.loss();
  };
}

/** The call takes effect, and the caller gets `error`, or the adapter's own, as if it might not have. */
export function loseReply(error?: Error): AnyFault {
  return async (call) => {
    await call.proceed().catch(() => {});
    throw error ?? call.loss();
  };
}

/** The caller waits and nothing takes effect until `release`; then it goes through. */
export function hang(): AnyFault & Gate {
  return pause('before');
}

/** Holds a call `before` it takes effect, or `after` it took effect and before its reply. */
export function pause(at: 'before' | 'after'): AnyFault & Gate {
  return gated((hold) => async (call) => {
    if (at === 'before') await hold();
    const result = await call.proceed();
    if (at === 'after') await hold();
    return result;
  });
}

/** The call takes effect after this time by the plan's clock, in ms, with the caller waiting. */
export function delay(delayMs: number): AnyFault {
  return async (call) => {
    await new Promise<void>((resolve) => call.clock.schedule(resolve, delayMs));
    return await call.proceed();
  };
}

/** The caller gets an error at once, as after a time-out; it takes effect at `release`. */
export function applyLate(error?: Error): AnyFault & Gate {
  return gated((hold) => async (call) => {
    call.late(hold().then(() => call.proceed()));
    throw error ?? call.loss();
  });
}

/** The call takes effect twice, as when a network or a client resends; the caller gets the first reply, or the second. */
export function duplicate(reply: 'first' | 'second' = 'first'): AnyFault {
  return async (call) => {
    const first = await call.proceed();
    const second = await call.proceed();
    return reply === 'first' ? first : second;
  };
}

/**
 * Holds calls until `count` have come (or `release`), then lets them take effect in reverse order, one
 * after the other. Give it to `next` with `times: count`.
 */
export function reorder(count: number): AnyFault & Gate {
  const waiting: (() => Promise<void>)[] = [];
  let open = false;
  async function flush(): Promise<void> {
    open = true;
    for (let turn = waiting.pop(); turn !== undefined; turn = waiting.pop()) await turn();
  }
  const reached = Promise.withResolvers<void>();
  const fault: AnyFault = (call) => {
    if (open) return call.proceed();
    reached.resolve();
    return new Promise((resolve, reject) => {
      waiting.push(() => call.proceed().then(resolve, reject));
      if (waiting.length >= count) void flush();
    });
  };
  return Object.assign(fault, { reached: reached.promise, release: () => void flush() });
}

/** Something happens just before it takes effect, e.g. an eviction: `before(() => cache.evict(key))`. */
export function before(action: () => unknown): AnyFault {
  return async (call) => {
    await action();
    return await call.proceed();
  };
}

/** Something happens after it took effect and before the caller has the reply. */
export function after(action: () => unknown): AnyFault {
  return async (call) => {
    const result = await call.proceed();
    await action();
    return result;
  };
}
