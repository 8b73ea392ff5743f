import { isStalePlan } from '../errors.js';
import {
  bare,
  type Call,
  forgetPrepared,
  Pipeline,
  type PipelineCallback,
  type PipelineOptions,
  type Row,
  type WireClient,
} from './pipeline.js';

/** What travels in one message with a transaction's COMMIT, before it: all of it fails, or is committed. */
export class Closing {
  readonly #calls: Call[] = [];
  #options: PipelineOptions | undefined;
  #results: readonly Row[][] = [];
  #failed = false;

  get isEmpty(): boolean {
    return this.#calls.length === 0;
  }

  /** The server has refused one of the calls, and still has the transaction. */
  get failed(): boolean {
    return this.#failed;
  }

  /** Adds calls, behind earlier ones. Returns what gives the answer of the last of them, after the commit. */
  add(calls: readonly Call[], options?: PipelineOptions): () => readonly Row[] {
    this.#calls.push(...calls);
    this.#options ??= options;
    const last = this.#calls.length - 1;
    return () => this.#results[last] ?? [];
  }

  /** Sends the calls, and the COMMIT. */
  send(client: WireClient, ended: (error: unknown) => void): void {
    const done: PipelineCallback = (error, results) => {
      this.#failed = results === undefined && pipeline.answered < this.#calls.length;
      this.#results = results ?? [];
      if (isStalePlan(error)) forgetPrepared(client);
      ended(error);
    };
    const pipeline = new Pipeline(client, [...this.#calls, bare('COMMIT')], done, this.#options);
    client.query(pipeline);
  }
}
