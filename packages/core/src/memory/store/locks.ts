import type { Deadline } from '../../kit/wait.js';

/** Whoever holds and waits for rows: a transaction, or one write on its own. */
export interface LockOwner {
  /** Rows that it waits for now. */
  readonly waitingFor: Set<string>;
}

export function lockOwner(): LockOwner {
  return { waitingFor: new Set() };
}

/** Thrown when a wait would never end; the transaction is run again. */
export class DeadlockError extends Error {}

interface Waiter {
  readonly owner: LockOwner;
  readonly granted: () => void;
}

interface Lock {
  holder: LockOwner;
  readonly waiters: Waiter[];
}

/** Exclusive locks on rows, first come first served, present or not. */
export interface RowLocks {
  /**
   * True: the owner holds the row now. Otherwise a wait: resolves when the row is the owner's, rejects
   * with `DeadlockError`, or as the deadline does.
   */
  acquire(row: string, owner: LockOwner, deadline: Deadline): true | Promise<void>;
  release(row: string, owner: LockOwner): void;
}

export function rowLocks(): RowLocks {
  const locks = new Map<string, Lock>();

  function reaches(from: LockOwner, target: LockOwner, seen: Set<LockOwner>): boolean {
    if (from === target) return true;
    if (seen.has(from)) return false;
    seen.add(from);
    for (const row of from.waitingFor) {
      const lock = locks.get(row);
      if (lock !== undefined && reaches(lock.holder, target, seen)) return true;
    }
    return false;
  }

  function release(row: string, owner: LockOwner): void {
    const lock = locks.get(row);
    if (lock?.holder !== owner) return;
    const next = lock.waiters.shift();
    if (next === undefined) {
      locks.delete(row);
      return;
    }
    lock.holder = next.owner;
    next.granted();
  }

  async function wait(row: string, lock: Lock, owner: LockOwner, deadline: Deadline): Promise<void> {
    if (reaches(lock.holder, owner, new Set())) throw new DeadlockError(`deadlock on "${row}"`);
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiter: Waiter = { owner, granted: resolve };
    lock.waiters.push(waiter);
    owner.waitingFor.add(row);
    try {
      await deadline.bound(promise);
    } catch (error) {
      const at = lock.waiters.indexOf(waiter);
      if (at >= 0) lock.waiters.splice(at, 1);
      else release(row, owner);
      throw error;
    } finally {
      owner.waitingFor.delete(row);
    }
  }

  return {
    acquire(row, owner, deadline) {
      const lock = locks.get(row);
      if (lock === undefined) {
        locks.set(row, { holder: owner, waiters: [] });
        return true;
      }
      return lock.holder === owner ? true : wait(row, lock, owner, deadline);
    },
    release,
  };
}
