import { channel } from 'node:diagnostics_channel';
import type {
  LockstepEventMap,
  LockstepEventName,
  LockstepEvents,
  LockstepListener,
} from '../contracts/events.js';

type Emit<Name extends LockstepEventName> = (event: LockstepEventMap[Name]) => void;

/** One event's listeners and its diagnostics channel. */
class Topic<Name extends LockstepEventName> {
  readonly #channel;
  #listeners: readonly Emit<Name>[] = [];

  constructor(name: Name) {
    this.#channel = channel(`lockstep:${name}`);
  }

  /** False when nobody listens: the event need not even be made. */
  get wanted(): boolean {
    return this.#listeners.length > 0 || this.#channel.hasSubscribers;
  }

  add(listener: Emit<Name>): () => void {
    this.#listeners = [...this.#listeners, listener];
    return () => {
      this.#listeners = this.#listeners.filter((other) => other !== listener);
    };
  }

  emit(event: LockstepEventMap[Name]): void {
    if (this.#channel.hasSubscribers) this.#channel.publish(event);
    for (const listener of this.#listeners) {
      try {
        listener(event);
      } catch (error) {
        // A listener's mistake is its own; it surfaces as an uncaught exception, away from the engine.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}

/** The engine's side of {@link LockstepEvents}: one topic per event. */
export class EventHub implements LockstepEvents {
  readonly hit = new Topic('hit');
  readonly miss = new Topic('miss');
  readonly load = new Topic('load');
  readonly fillRefused = new Topic('fillRefused');
  readonly write = new Topic('write');
  readonly putRefused = new Topic('putRefused');
  readonly breaker = new Topic('breaker');
  readonly handover = new Topic('handover');
  readonly relay = new Topic('relay');
  readonly cacheGeneration = new Topic('cacheGeneration');
  readonly buffer = new Topic('buffer');
  readonly bufferRefused = new Topic('bufferRefused');
  readonly flush = new Topic('flush');
  readonly flushRefused = new Topic('flushRefused');
  readonly error = new Topic('error');

  on<Name extends LockstepEventName>(name: Name, listener: LockstepListener<Name>): () => void {
    const topic = this[name] as unknown as Topic<Name>;
    return topic.add(listener);
  }
}
