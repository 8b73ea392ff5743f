import type { KeyPlace, Ordered } from './key-order.js';
import type { Linked } from './linked-list.js';

/**
 * The states of a write on its way; `GroupCommit` alone sets them, in `#enter`, which does what belongs to each.
 *
 * | state       | the write waits for                        | next                        |
 * | ----------- | ------------------------------------------ | --------------------------- |
 * | `outside`   | room: too many wait inside                 | `queued`, `done`            |
 * | `queued`    | its turn among its key's writes            | `preparing`, `done`         |
 * | `preparing` | what is asked for it                       | `prepared`, `ready`, `done` |
 * | `prepared`  | its turn among its key's writes            | `ready`, `done`             |
 * | `ready`     | a place in a batch                         | `taken`, `done`             |
 * | `taken`     | its batch, which was sent                  | `done`, `preparing` (again) |
 * | `done`      | nothing: the key's next write has its turn |                             |
 *
 * Nothing is asked for a write before it is `preparing`: without a buffer at once when it is queued. One that was not
 * taken is done because it failed: its preparation did, or its time ran out.
 */
export type WriteState = 'outside' | 'queued' | 'preparing' | 'prepared' | 'ready' | 'taken' | 'done';

/** A write as it is asked for; `bytes` counts in a batch's bound. */
export interface WriteRequest {
  readonly key: string;
  readonly bytes: number;
}

// Classes, not literals, for what every write makes. Once many objects of a literal were seen to live long, as in a
// burst, V8 makes all later ones among the old, where even dead ones keep young ones alive until the next full
// collection (`docs/performance.md`).

/** Whoever waits for a write's answer: told once. Must not throw. */
export interface Caller<Request, Answer> {
  readonly request: Request;
  resolve(answer: Answer): void;
  reject(error: Error): void;
}

/** One who waits by a promise. */
export class PromisedCaller<Request, Answer> implements Caller<Request, Answer> {
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
export class PendingWrite<Request extends WriteRequest, Answer, Prepared>
  implements Linked<PendingWrite<Request, Answer, Prepared>>, Ordered<PendingWrite<Request, Answer, Prepared>>
{
  readonly key: string;
  readonly place: KeyPlace<PendingWrite<Request, Answer, Prepared>>;
  readonly createdAtMs: number;
  /** False: it was merged before, and refused. */
  readonly joinable: boolean;
  /** In their order. */
  readonly callers: Caller<Request, Answer>[];
  /** All callers' requests as one. */
  request: Request;
  prepared: Prepared | undefined = undefined;
  state: WriteState = 'queued';
  previous: PendingWrite<Request, Answer, Prepared> | undefined = undefined;
  next: PendingWrite<Request, Answer, Prepared> | undefined = undefined;
  earlier: PendingWrite<Request, Answer, Prepared> | undefined = undefined;
  later: PendingWrite<Request, Answer, Prepared> | undefined = undefined;

  constructor(
    callers: Caller<Request, Answer>[],
    request: Request,
    place: KeyPlace<PendingWrite<Request, Answer, Prepared>>,
    joinable: boolean,
    createdAtMs: number,
  ) {
    this.key = request.key;
    this.place = place;
    this.createdAtMs = createdAtMs;
    this.joinable = joinable;
    this.callers = callers;
    this.request = request;
  }
}
