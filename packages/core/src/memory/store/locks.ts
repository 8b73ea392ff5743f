import type { Deadline } from '../../kit/wait.js';

/** A transaction that holds rows, and waits for others. */
export interface LockOwner {
  /** Rows that it waits for now. */
  readonly waitingFor: Set<string>;
}

/** Thrown when a wait would never end; the transaction is run again. */
export class DeadlockError extends Error {}

interface Lock {
  holder: LockOwner;
  readonly waiters: { readonly owner: LockOwner; readonly granted: () => void }[];
}

/** Exclusive locks on rows, first come first served, present or not. */
export class RowLocks {
  readonly #locks = new Map<string, Lock>();

  /**
   * `undefined`: the row is the owner's now. Otherwise resolves when it is; rejects with `DeadlockError`, or as the
   * deadline does.
   */
  acquire(row: string, owner: LockOwner, deadline: Deadline): Promise<void> | undefined {
    const lock = this.#locks.get(row);
    if (lock === undefined) this.#locks.set(row, { holder: owner, waiters: [] });
    return lock === undefined || lock.holder === owner ? undefined : this.#wait(row, lock, owner, deadline);
  }

  async #wait(row: string, lock: Lock, owner: LockOwner, deadline: Deadline): Promise<void> {
    if (this.#reaches(lock.holder, owner, new Set())) throw new DeadlockError(`deadlock on "${row}"`);
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiter = { owner, granted: resolve };
    lock.waiters.push(waiter);
    owner.waitingFor.add(row);
    try {
      await deadline.bound(promise);
    } catch (error) {
      const at = lock.waiters.indexOf(waiter);
      if (at >= 0) lock.waiters.splice(at, 1);
      else this.release(row, owner);
      throw error;
    } finally {
      owner.waitingFor.delete(row);
    }
  }

  #reaches(from: LockOwner, target: LockOwner, seen: Set<LockOwner>): boolean {
    if (from === target) return true;
    if (seen.has(from)) return false;
    seen.add(from);
    return [...from.waitingFor].some((row) => {
      const lock = this.#locks.get(row);
      return lock !== undefined && this.#reaches(lock.holder, target, seen);
    });
  }

  release(row: string, owner: LockOwner): void {
    const lock = this.#locks.get(row);
    if (lock?.holder !== owner) return;
    const next = lock.waiters.shift();
    if (next === undefined) {
      this.#locks.delete(row);
      return;
    }
    lock.holder = next.owner;
    next.granted();
  }
}
