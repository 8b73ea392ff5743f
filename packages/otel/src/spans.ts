import type { LockstepTraceMap, LockstepTraceName } from '@lockstep/core';
import {
  type Attributes,
  context,
  type Span,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from '@opentelemetry/api';
import { errorType, onCalls } from './channels.js';

interface Spans<Name extends LockstepTraceName> {
  readonly kind: SpanKind;
  readonly name: (message: LockstepTraceMap[Name]) => string;
  readonly begun: (message: LockstepTraceMap[Name]) => Attributes;
  readonly ended: (message: LockstepTraceMap[Name]) => Attributes;
}

const SPANS: { readonly [Name in LockstepTraceName]: Spans<Name> } = {
  get: {
    kind: SpanKind.INTERNAL,
    name: ({ collection }) => `lockstep.get ${collection}`,
    begun: ({ collection, keys, operation }) => ({
      'lockstep.collection': collection,
      'lockstep.operation': operation,
      'lockstep.keys': keys,
    }),
    ended: ({ operation, result }) => {
      const { from } = operation === 'get' ? (result as { readonly from: string }) : {};
      // `cache.hit` is what dashboards for caches read.
      return from === undefined
        ? {}
        : { 'lockstep.from': from, 'cache.hit': from !== 'store' && from !== 'transaction' };
    },
  },
  write: {
    kind: SpanKind.INTERNAL,
    name: ({ collection, operation }) => `lockstep.${operation} ${collection}`,
    begun: ({ collection, operation }) => ({
      'lockstep.collection': collection,
      'lockstep.operation': operation,
    }),
    ended: ({ result }) => {
      const { cache, coalesced, store } = result as Readonly<Record<string, string | boolean | undefined>>;
      return {
        ...(store !== undefined && { 'lockstep.store': store }),
        ...(cache !== undefined && { 'lockstep.cache': cache }),
        ...(coalesced !== undefined && { 'lockstep.coalesced': coalesced }),
      };
    },
  },
  load: {
    kind: SpanKind.INTERNAL,
    name: ({ collection }) => `lockstep.load ${collection}`,
    begun: ({ collection, keys }) => ({ 'lockstep.collection': collection, 'lockstep.keys': keys }),
    ended: () => ({}),
  },
  relay: {
    kind: SpanKind.CONSUMER,
    name: ({ feed }) => `lockstep.relay ${feed}`,
    begun: ({ changes, feed }) => ({ 'lockstep.feed': feed, 'messaging.batch.message_count': changes }),
    ended: () => ({}),
  },
};

/** Makes a span of each call; what the call does is below it. Returns what ends that. */
export function subscribeSpans(tracer: () => Tracer): () => void {
  const each = <Name extends LockstepTraceName>(name: Name) =>
    subscribe(name, SPANS[name] as Spans<Name>, tracer);
  const ends = (Object.keys(SPANS) as LockstepTraceName[]).map(each);
  return () => {
    for (const end of ends) end();
  };
}

function subscribe<Name extends LockstepTraceName>(
  name: Name,
  { begun, ended, kind, name: nameOf }: Spans<Name>,
  tracer: () => Tracer,
): () => void {
  const open = new WeakMap<object, Span>();
  return onCalls(name, {
    start(message) {
      const span = tracer().startSpan(nameOf(message), { kind, attributes: begun(message) });
      open.set(message, span);
      const inside = trace.setSpan(context.active(), span);
      message.within = (call) => context.with(inside, call);
    },
    end(message, error) {
      const span = open.get(message);
      if (span === undefined) return;
      if (error === undefined) span.setAttributes(ended(message));
      else {
        // Messages of errors may hold what a database quotes; the type says enough.
        span.setAttribute('error.type', errorType(error));
        span.setStatus({ code: SpanStatusCode.ERROR });
      }
      span.end();
    },
  });
}
