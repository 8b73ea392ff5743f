import type { PooledClient } from './lender.js';
import type { WireConnection } from './pipeline.js';

/** The part of pg's `Connection` that tells what the server says. */
interface ServerMessages extends WireConnection {
  prependListener(name: string, listener: (message: never) => void): void;
  removeListener(name: string, listener: (message: never) => void): void;
}

/** The part of pg's `Client` that is watched. */
export interface WatchedClient extends PooledClient {
  readonly connection: ServerMessages;
  on(name: 'error' | 'end', listener: (error?: unknown) => void): void;
  removeListener(name: 'error' | 'end', listener: (error?: unknown) => void): void;
}

/** The part of knex's nested transaction that is asked. */
export interface Nested {
  isCompleted(): boolean;
}
