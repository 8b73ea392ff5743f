import { FactBuffer, type FactKind, type Outage, systemMs } from '@lockstep/torture';
import { DeleteLedger } from './delete-ledger.js';

/** An application as the exchange knows it. */
export interface ExchangeMember {
  facts(facts: Float64Array | null, horizonMs: number): void;
  outages(list: readonly Outage[]): void;
}

/**
 * Passes every process's facts on to all others, and tells them a time before which nothing is missing any
 * more. That horizon is what makes the verdicts independent of how slow a message is: reports come in order,
 * and each says up to when it is complete.
 */
export class FactExchange {
  readonly #marks = new Map<ExchangeMember, number>();
  readonly #own = new FactBuffer();
  readonly #ownMarkMs: () => number;
  readonly #deletes = new DeleteLedger();
  #outages: readonly Outage[] = [];

  /** `ownMarkMs`: up to when this process knows all outages. */
  constructor(ownMarkMs: () => number) {
    this.#ownMarkMs = ownMarkMs;
  }

  /** Before the member can make its first fact. */
  join(member: ExchangeMember): void {
    this.#marks.set(member, systemMs());
    member.outages(this.#outages);
    const deletes = this.#deletes.facts();
    if (deletes.length > 0) member.facts(deletes, 0);
  }

  /** Facts that the member has not told go with it: nobody else was told of those writes either. */
  leave(member: ExchangeMember): void {
    this.#marks.delete(member);
  }

  report(member: ExchangeMember, facts: Float64Array, markMs: number): void {
    this.#deletes.add(facts);
    if (this.#marks.has(member)) this.#marks.set(member, markMs);
    const horizonMs = this.horizonMs;
    const passed = facts.length > 0 ? facts : null;
    for (const other of this.#marks.keys()) other.facts(other === member ? null : passed, horizonMs);
  }

  /** A fact of this process's own: a write by plain SQL. */
  tell(kind: FactKind, index: number, version: number, atMs: number): void {
    this.#own.add(kind, index, version, atMs);
    const facts = this.#own.take();
    const horizonMs = this.horizonMs;
    for (const member of this.#marks.keys()) member.facts(facts, horizonMs);
  }

  tellOutages(outages: readonly Outage[]): void {
    this.#outages = outages;
    for (const member of this.#marks.keys()) member.outages(outages);
  }

  get horizonMs(): number {
    return Math.min(this.#ownMarkMs(), ...this.#marks.values());
  }
}
