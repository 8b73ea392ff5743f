import { MAX_VERSION_AHEAD_MS, NO_VERSION, type Version } from '@lockstep/core';
import type { MongoClient, ServerHeartbeatSucceededEvent } from 'mongodb';
import { fromStored } from '../rows/stamp.js';

const PAST_MARGIN_MS = 1_000;

/** Samples kept of each server: the one that travelled fastest counts. */
const SAMPLES = 5;

/**
 * The distance of the servers' clocks from this process's, by their heartbeats. It serves deadlines, and the
 * judgement of versions from outside: no version comes from it. Between members whose clocks differ, the one that
 * is furthest behind the others is given the most time.
 */
export class ServerClock {
  readonly #client: MongoClient;
  readonly #offsets = new Map<string, number[]>();
  /** The highest and the lowest of all samples, in ms; kept, since each row asks for one. */
  #latest: number | undefined;
  #earliest = 0;
  readonly #onHeartbeat = ({ connectionId, reply }: ServerHeartbeatSucceededEvent): void => {
    const localTime: unknown = reply['localTime'];
    if (localTime instanceof Date) this.sample(connectionId, localTime);
  };

  constructor(client: MongoClient) {
    this.#client = client;
    client.on('serverHeartbeatSucceeded', this.#onHeartbeat);
  }

  /** Notes a server's time as it has just arrived. */
  sample(server: string, localTime: Date): void {
    const offsets = this.#offsets.get(server) ?? [];
    offsets.push(localTime.getTime() - Date.now());
    if (offsets.length > SAMPLES) offsets.shift();
    this.#offsets.set(server, offsets);
    const all = [...this.#offsets.values()].flat();
    this.#latest = Math.max(...all);
    this.#earliest = Math.min(...all);
  }

  /** The time on the servers' clocks in `delayMs` from now; `undefined` before any has told its time. */
  in(delayMs: number): Date | undefined {
    if (this.#latest === undefined) return undefined;
    return new Date(Date.now() + Math.max(0, delayMs) + this.#latest);
  }

  /** The time now, ahead of no server's clock, for deadlines to count from; `undefined` before any has told its time. */
  nowMs(): number | undefined {
    // Times are told and compared in whole milliseconds.
    return this.#latest === undefined ? undefined : Date.now() + this.#earliest - 1;
  }

  /** The highest version that can be believed now; anything that is a version before a server has told its time. */
  get highestBelievable(): Version {
    if (this.#latest === undefined) return Number.MAX_SAFE_INTEGER;
    return (Date.now() + this.#latest + MAX_VERSION_AHEAD_MS) * 1_000;
  }

  /**
   * A version that every server's clock is past, by a margin for what a sample took to travel; `0` before any told its
   * time.
   */
  get surelyPast(): Version {
    if (this.#latest === undefined) return NO_VERSION;
    return Math.max(NO_VERSION, (Date.now() + this.#earliest - PAST_MARGIN_MS) * 1_000);
  }

  /** A stored version as a number; `0` for anything that is none, or that no server's clock can have made. */
  versionOf(stored: unknown): Version {
    const version = fromStored(stored);
    return version <= this.highestBelievable ? version : NO_VERSION;
  }

  close(): void {
    this.#client.off('serverHeartbeatSucceeded', this.#onHeartbeat);
  }
}
