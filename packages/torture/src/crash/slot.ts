import { Child } from './child-process.js';
import type { Recorder } from './recorder.js';
import type { ChildSettings, PartySettings } from './settings.js';

/** One place among the processes: whoever works there, and the next one, which is ready to take over. */
export class Slot {
  readonly role: ChildSettings['role'];
  readonly #settings: PartySettings;
  readonly #recorder: Recorder;
  readonly #name: string;
  readonly #seed: number;
  readonly #all = new Set<Child>();
  #born = 0;
  #standby: Child;
  #active: Child | undefined;

  constructor(
    role: ChildSettings['role'],
    place: number,
    settings: PartySettings,
    recorder: Recorder,
    seed: number,
  ) {
    this.role = role;
    this.#settings = settings;
    this.#recorder = recorder;
    this.#name = `${role[0]}${place}`;
    this.#seed = seed * 1_000 + place * 100 + (role === 'worker' ? 50 : 0);
    this.#standby = this.#spawn();
  }

  /** Resolves when a kill would be followed by a restart at once. */
  get ready(): Promise<void> {
    return this.#standby.ready;
  }

  /** Puts the next process to work. */
  async start(): Promise<void> {
    const next = this.#standby;
    await next.ready;
    next.go();
    this.#active = next;
    this.#standby = this.#spawn();
  }

  /** Kills the one at work; the next takes its place. */
  async replace(): Promise<void> {
    this.#active?.kill();
    await this.start();
  }

  /** Ends the one at work in order; resolves with whether it did so in time. */
  async stop(ms: number): Promise<boolean> {
    this.#standby.kill();
    return (await this.#active?.stop(ms)) ?? true;
  }

  async end(): Promise<void> {
    for (const child of this.#all) child.kill();
    await Promise.all([...this.#all].map(({ ended }) => ended));
  }

  #spawn(): Child {
    this.#born++;
    const { role } = this;
    const name = `${this.#name}.${this.#born}`;
    const child = new Child({ ...this.#settings, role, name, seed: this.#seed + this.#born }, this.#recorder);
    this.#all.add(child);
    void child.ended.then(() => this.#all.delete(child));
    return child;
  }
}
