import type { Clock } from '../contracts/clock.js';

/** A call at an adapter's boundary, in a fault's hands. */
export interface FaultCall<Input = unknown, Output = unknown> {
  readonly op: string;
  readonly input: Input;
  readonly clock: Clock;
  /** Lets the adapter do it; may be called never, late or twice. */
  proceed(): Promise<Output>;
  /** The adapter's own error for a call that took no effect. */
  refusal(): Error;
  /** The adapter's own error for a call of which nothing is known. */
  loss(): Error;
  /** Tells the plan of an effect that outlives the call, so that `settled` waits for it. */
  late(effect: Promise<unknown>): void;
}

/** Runs in place of a call. One of `@lockstep/core/faults`, or any function of this shape. */
export type Fault<Input = unknown, Output = unknown> = (call: FaultCall<Input, Output>) => Promise<Output>;
