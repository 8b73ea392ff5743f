import { type Clock, systemClock } from '../contracts/clock.js';
import type { Fault } from './call.js';
import { type Gate, pause } from './faults.js';

/** The calls of an adapter, by name: what goes in, what comes out. */
export type CallMap = Readonly<Record<string, { readonly input: unknown; readonly output: unknown }>>;

export interface FaultScope<Input> {
  /** Only calls whose input passes. @defaultValue every call */
  readonly when?: (input: Input) => boolean;
}

/** The calls that fail, and how; shared by a test and the adapters that it wraps. */
export interface FaultPlan<Calls extends CallMap> {
  /** The next call (or the next `times` calls) of this name that is in scope; before whatever `always` says. */
  next<Op extends keyof Calls & string>(
    op: Op,
    fault: Fault<Calls[Op]['input'], Calls[Op]['output']>,
    options?: FaultScope<Calls[Op]['input']> & { readonly times?: number },
  ): void;
  /** Every call of this name in scope, until `clear`; the one set last comes first. */
  always<Op extends keyof Calls & string>(
    op: Op,
    fault: Fault<Calls[Op]['input'], Calls[Op]['output']>,
    options?: FaultScope<Calls[Op]['input']>,
  ): void;
  /** Holds the next call in scope before it takes effect, or `after` it took effect and before its reply. */
  pauseNext<Op extends keyof Calls & string>(
    op: Op,
    options?: FaultScope<Calls[Op]['input']> & { readonly at?: 'before' | 'after' },
  ): Gate;
  /** Forgets the faults of this name, or all. Calls that are held stay held. */
  clear(op?: keyof Calls & string): void;
  /** How many calls of this name there were, faults included. */
  calls(op: keyof Calls & string): number;
  /** Resolves when no late effect is under way. One that is held is under way. */
  settled(): Promise<void>;
  /** For wrappers: runs a call, or the fault that stands for it. */
  run<Op extends keyof Calls & string>(op: Op, call: BoundaryCall<Calls[Op]>): Promise<Calls[Op]['output']>;
}

/** A call as its wrapper describes it. */
export interface BoundaryCall<Call extends { readonly input: unknown; readonly output: unknown }> {
  readonly input: Call['input'];
  readonly effect: () => Promise<Call['output']>;
  readonly refusal: (message: string) => Error;
  /** @defaultValue as `refusal` */
  readonly loss?: (message: string) => Error;
  /** Ends a fault that takes too long, as the adapter ends a call. @defaultValue a fault takes what it takes */
  readonly bounded?: (<T>(fault: Promise<T>, clock: Clock) => Promise<T>) | undefined;
}

export interface FaultPlanOptions {
  /** The clock that `delay` waits by. @defaultValue the system's */
  readonly clock?: Clock;
}

interface Rule {
  readonly op: string;
  readonly fault: Fault<never, unknown>;
  readonly when: (input: never) => boolean;
  left: number;
}

/** Makes a plan without faults. */
export function faultPlan<Calls extends CallMap>({
  clock = systemClock,
}: FaultPlanOptions = {}): FaultPlan<Calls> {
  let nexts: Rule[] = [];
  let standing: Rule[] = [];
  const counts = new Map<string, number>();
  const lateEffects = new Set<Promise<unknown>>();

  function pick(op: string, input: unknown): Fault<unknown, unknown> | undefined {
    const fits = (rule: Rule): boolean => rule.op === op && (rule.when as (input: unknown) => boolean)(input);
    const once = nexts.find(fits);
    if (once === undefined) return standing.find(fits)?.fault as Fault | undefined;
    once.left -= 1;
    if (once.left <= 0) nexts = nexts.filter((rule) => rule !== once);
    return once.fault as Fault;
  }

  function late(effect: Promise<unknown>): void {
    const settled: Promise<unknown> = effect.catch(() => {}).finally(() => lateEffects.delete(settled));
    lateEffects.add(settled);
  }

  const plan: FaultPlan<Calls> = {
    next(op, fault, { when = () => true, times = 1 } = {}) {
      nexts.push({ op, fault, when, left: times });
    },
    always(op, fault, { when = () => true } = {}) {
      standing.unshift({ op, fault, when, left: Number.POSITIVE_INFINITY });
    },
    pauseNext(op, { at = 'before', ...scope } = {}) {
      const gate = pause(at);
      plan.next(op, gate, scope);
      return gate;
    },
    clear(op) {
      nexts = op === undefined ? [] : nexts.filter((rule) => rule.op !== op);
      standing = op === undefined ? [] : standing.filter((rule) => rule.op !== op);
    },
    calls: (op) => counts.get(op) ?? 0,
    async settled() {
      while (lateEffects.size > 0) await Promise.all(lateEffects);
    },
    // Not awaited before the effect, so that a call without a fault takes effect as soon as without the plan.
    async run(op, { bounded, input, effect, refusal, loss = refusal }) {
      counts.set(op, (counts.get(op) ?? 0) + 1);
      const fault = pick(op, input);
      if (fault === undefined) return await effect();
      const faulty = fault({
        op,
        input,
        clock,
        proceed: effect,
        refusal: () => refusal(`${op}: refused by a fault`),
        loss: () => loss(`${op}: lost by a fault`),
        late,
      });
      return await (bounded?.(faulty, clock) ?? faulty);
    },
  };
  return plan;
}
