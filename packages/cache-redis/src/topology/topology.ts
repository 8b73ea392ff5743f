import type { Redis } from 'ioredis';
import type { ScriptCall } from '../calls.js';
import type { DecodeAt } from '../replies/read-command.js';

/** Positions of a call whose keys one server holds. */
export interface Group {
  /** Names the server. */
  readonly server: string;
  readonly positions: readonly number[];
  /** Why nothing can be sent to it now. */
  readonly down: string | undefined;
}

/** How commands get to the server that holds their key. */
export interface Topology {
  /** Absent: one server holds all keys. */
  groups?(keys: readonly string[]): readonly Group[];
  /** What there is at keys of one group, an `Error` in a failed one's place. */
  read<Found>(
    keys: readonly string[],
    decode: DecodeAt<Found>,
  ): Promise<readonly (Found | undefined | Error)[]>;
  /** The first bytes of the texts at keys of one group; empty where nothing is. */
  readHeads(keys: readonly string[], length: number): Promise<readonly (Buffer | Error)[]>;
  /** The replies of calls on keys of one group, in order. */
  run(calls: readonly ScriptCall[]): Promise<readonly unknown[]>;
  /** Runs calls again, for servers that have lost the script or handed the keys on. */
  rerun(calls: readonly ScriptCall[]): Promise<readonly unknown[]>;
  /** True for an error after which `rerun` may find the right place. */
  worthRerun(error: Error): boolean;
  /** The servers that hold keys, each with a connection of its own. */
  primaries(): readonly Redis[];
  /** A key of each server's own that starts with `start`, by the server's name. */
  probeKeys(start: string): ReadonlyMap<string, string>;
  /** The name of the server that holds a key. Absent: there is one, named `''`. */
  primaryOf?(key: string): string;
  /** The prefix that ioredis puts before every key. */
  readonly keyPrefix: string;
  readonly description: string;
}
