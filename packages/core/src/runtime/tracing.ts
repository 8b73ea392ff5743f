import { type TracingChannel, tracingChannel } from 'node:diagnostics_channel';
import type { LockstepTraceMap, LockstepTraceName } from '../contracts/traces.js';

type Channel<Name extends LockstepTraceName> = TracingChannel<unknown, LockstepTraceMap[Name]>;

function channelOf<Name extends LockstepTraceName>(name: Name): Channel<Name> {
  return tracingChannel<unknown, LockstepTraceMap[Name]>(`lockstep.${name}`);
}

/** The tracing channels. Ask for `hasSubscribers` first: nothing of a trace is made where nobody listens. */
export const TRACES = {
  get: channelOf('get'),
  write: channelOf('write'),
  load: channelOf('load'),
  relay: channelOf('relay'),
};

/** Runs a call between its messages, and in the context that a tracer has set. */
export function traced<Name extends LockstepTraceName, Result>(
  name: Name,
  message: LockstepTraceMap[Name],
  call: () => Promise<Result>,
): Promise<Result> {
  const channel = TRACES[name] as unknown as TracingChannel<unknown, typeof message>;
  const run = (): Promise<Result> => (message.within === undefined ? call() : message.within(call));
  return channel.tracePromise(run, message as never) as Promise<Result>;
}
