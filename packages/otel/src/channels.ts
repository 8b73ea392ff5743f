import { type TracingChannel, tracingChannel } from 'node:diagnostics_channel';
import {
  LockstepError,
  type LockstepErrorCode,
  type LockstepTraceMap,
  type LockstepTraceName,
} from '@lockstep/core';

/** How a call began and ended. */
export interface Listener<Name extends LockstepTraceName> {
  start(message: LockstepTraceMap[Name]): void;
  end(message: LockstepTraceMap[Name], error: unknown): void;
}

/** Listens to the calls of a channel, each of which ends once. Returns what ends that. */
export function onCalls<Name extends LockstepTraceName>(name: Name, listener: Listener<Name>): () => void {
  const channel: TracingChannel<unknown, LockstepTraceMap[Name]> = tracingChannel(`lockstep.${name}`);
  const begun = new WeakSet<object>();
  const ended = (message: unknown): void => {
    // Those that had begun before have no start.
    if (!begun.delete(message as object)) return;
    listener.end(message as LockstepTraceMap[Name], (message as { error?: unknown }).error);
  };
  const subscribers = {
    start(message: unknown): void {
      begun.add(message as object);
      listener.start(message as LockstepTraceMap[Name]);
    },
    // A call that throws at once has no `asyncEnd`.
    end(message: unknown): void {
      if (Object.hasOwn(message as object, 'error')) ended(message);
    },
    asyncStart(): void {},
    asyncEnd: ended,
    error(): void {},
  };
  channel.subscribe(subscribers as never);
  return () => void channel.unsubscribe(subscribers as never);
}

/** The attribute `error.type`: the stable code of an error of Lockstep's, else the error's class. */
export function errorType(error: unknown): LockstepErrorCode | string {
  if (error instanceof LockstepError) return error.code;
  return error instanceof Error ? error.name : '_OTHER';
}
