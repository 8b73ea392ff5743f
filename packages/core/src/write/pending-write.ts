/**
 * The states of a write on its way; `GroupCommit` alone sets them, in `#enter`, which does what belongs to each.
 *
 * | state       | the write waits for                                        | next                        |
 * | ----------- | ---------------------------------------------------------- | --------------------------- |
 * | `queued`    | its turn among its key's writes; nothing was asked for it  | `preparing`, `done`         |
 * | `preparing` | what is asked for it                                       | `prepared`, `done`          |
 * | `prepared`  | its turn among its key's writes                            | `ready`, `done`             |
 * | `ready`     | a place in a batch                                         | `taken`, `done`             |
 * | `taken`     | its batch, which was sent                                  | `done`, `preparing` (again) |
 * | `done`      | nothing: the key's next write has its turn                 |                             |
 *
 * A write that was not taken is done because it failed: its preparation did, or its time ran out.
 */
export type WriteState = 'queued' | 'preparing' | 'prepared' | 'ready' | 'taken' | 'done';

/** What is written of a key; `bytes` counts in a batch's bound. */
export interface WriteRequest {
  readonly key: string;
  readonly bytes: number;
}

// What every write makes is of a class, not a literal, and in no literal array: V8 puts what a literal makes
// among the old objects from the start, once many of them were seen to live long (as in a burst), and all that
// is stored into it with it; there they keep young objects alive until the next full collection.

/** Whoever waits for a write's answer. */
export class Caller<Request, Answer> {
  readonly request: Request;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: Error) => void;

  constructor(request: Request, resolve: (answer: Answer) => void, reject: (error: Error) => void) {
    this.request = request;
    this.resolve = resolve;
    this.reject = reject;
  }
}

/** One write on its way, on behalf of one caller, or of several whose requests were merged. */
export class PendingWrite<Request extends WriteRequest, Answer, Prepared> {
  readonly key: string;
  readonly createdAtMs: number;
  /** False: it was merged before, and refused. */
  readonly joinable: boolean;
  /** All callers' requests as one. */
  request: Request;
  /** The last one that joined. */
  caller: Caller<Request, Answer>;
  /** Those before it, in their order. */
  merged: readonly Caller<Request, Answer>[] = NONE;
  prepared: Prepared | undefined = undefined;
  state: WriteState = 'queued';

  constructor(caller: Caller<Request, Answer>, joinable: boolean, createdAtMs: number) {
    this.key = caller.request.key;
    this.createdAtMs = createdAtMs;
    this.joinable = joinable;
    this.request = caller.request;
    this.caller = caller;
  }

  /** `request`: what it is with the caller's. */
  join(caller: Caller<Request, Answer>, request: Request): void {
    if (this.merged.length === 0) this.merged = [this.caller];
    else (this.merged as Caller<Request, Answer>[]).push(this.caller);
    this.caller = caller;
    this.request = request;
  }

  /** `earlier`: what those get whose requests became part of the last one. */
  answer(last: Answer, earlier: Answer = last): void {
    for (const caller of this.merged) caller.resolve(earlier);
    this.caller.resolve(last);
  }

  reject(error: Error): void {
    for (const caller of this.merged) caller.reject(error);
    this.caller.reject(error);
  }
}

const NONE: readonly never[] = [];
