import type { Ordered } from './key-order.js';
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

/** Whoever waits for a write's answer. */
interface Caller<Request, Answer> {
  readonly request: Request;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: Error) => void;
}

/** One write on its way, on behalf of one caller, or of several whose requests were merged. */
export interface PendingWrite<Request extends WriteRequest, Answer, Prepared>
  extends Linked<PendingWrite<Request, Answer, Prepared>>,
    Ordered<PendingWrite<Request, Answer, Prepared>> {
  readonly createdAtMs: number;
  /** False: it was merged before, and refused. */
  readonly joinable: boolean;
  /** In their order. */
  readonly callers: Caller<Request, Answer>[];
  /** All callers' requests as one. */
  request: Request;
  prepared: Prepared | undefined;
  state: WriteState;
}
