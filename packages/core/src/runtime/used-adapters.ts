interface Closable {
  close(): Promise<void>;
  /** Undoes `close`. */
  reopen?(): void;
}

/** How many open Locksteps of this process use an adapter. */
const users = new WeakMap<Closable, number>();

/** The adapters of one Lockstep. Several may share one: the last of them to close ends it, the next one to come opens it. */
export class UsedAdapters {
  readonly #used = new Set<Closable>();

  use(adapter: Closable | undefined): void {
    if (adapter === undefined || this.#used.has(adapter)) return;
    this.#used.add(adapter);
    const others = users.get(adapter) ?? 0;
    users.set(adapter, others + 1);
    if (others === 0) adapter.reopen?.();
  }

  /** Ends what no other Lockstep uses, what was used last first. */
  async close(failed: (error: unknown) => void): Promise<void> {
    for (const adapter of [...this.#used].reverse()) {
      const others = (users.get(adapter) ?? 1) - 1;
      users.set(adapter, others);
      if (others > 0) continue;
      try {
        await adapter.close();
      } catch (error) {
        failed(error);
      }
    }
  }
}
