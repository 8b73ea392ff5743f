import { channel } from 'node:diagnostics_channel';
import type {
  LockstepEventMap,
  LockstepEventName,
  LockstepEvents,
  LockstepListener,
} from '../contracts/events.js';
import { InvalidOptionError, messageOf } from '../errors.js';

type Emit<Name extends LockstepEventName> = (event: LockstepEventMap[Name]) => void;

/** One event's listeners and its diagnostics channel. */
class Topic<Name extends LockstepEventName> {
  readonly #channel;
  readonly #onThrow: (error: unknown) => void;
  #listeners: readonly Emit<Name>[] = [];

  /** `onThrow` is told what a listener throws, or what the promise that it returned rejects with. */
  constructor(name: Name, onThrow: (error: unknown) => void) {
    this.#channel = channel(`lockstep:${name}`);
    this.#onThrow = onThrow;
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
        const returned: unknown = listener(event);
        if (returned instanceof Promise) returned.catch(this.#onThrow);
      } catch (error) {
        this.#onThrow(error);
      }
    }
  }
}

/** The engine's side of {@link LockstepEvents}: one topic per event. */
export class EventHub implements LockstepEvents {
  /** A listener's mistake is its own: it disturbs neither the engine nor the process. */
  readonly #threw = (error: unknown): void => {
    if (this.error.wanted) this.error.emit({ where: 'listener', error });
    else warn(error);
  };

  readonly hit = new Topic('hit', this.#threw);
  readonly miss = new Topic('miss', this.#threw);
  readonly load = new Topic('load', this.#threw);
  readonly fillRefused = new Topic('fillRefused', this.#threw);
  readonly write = new Topic('write', this.#threw);
  readonly putRefused = new Topic('putRefused', this.#threw);
  readonly breaker = new Topic('breaker', this.#threw);
  readonly handover = new Topic('handover', this.#threw);
  readonly relay = new Topic('relay', this.#threw);
  readonly switch = new Topic('switch', this.#threw);
  readonly cacheGeneration = new Topic('cacheGeneration', this.#threw);
  readonly alteration = new Topic('alteration', this.#threw);
  readonly suspension = new Topic('suspension', this.#threw);
  readonly buffer = new Topic('buffer', this.#threw);
  readonly bufferRefused = new Topic('bufferRefused', this.#threw);
  readonly flush = new Topic('flush', this.#threw);
  readonly flushRefused = new Topic('flushRefused', this.#threw);
  readonly error = new Topic('error', warn);

  on<Name extends LockstepEventName>(name: Name, listener: LockstepListener<Name>): () => void {
    const topic = this[name] as unknown;
    if (!(topic instanceof Topic))
      throw new InvalidOptionError('name', `there is no event "${String(name)}"`);
    return (topic as Topic<Name>).add(listener);
  }
}

function warn(error: unknown): void {
  process.emitWarning(`a listener of Lockstep's events failed: ${messageOf(error)}`, {
    type: 'LockstepWarning',
    code: 'LOCKSTEP_LISTENER',
  });
}
