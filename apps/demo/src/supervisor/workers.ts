import type { Nothing, WorkerCalls, WorkerConfig, WorkerTells } from '../messages.js';
import { ManagedProcess } from './managed-process.js';

const START_MS = 120_000;
const STOP_MS = 3_000;
const RESTART_MS = 200;

type Child = ManagedProcess<WorkerCalls, Nothing, WorkerTells>;

export interface WorkerStatus {
  readonly name: string;
  readonly pid: number;
  readonly url: string | null;
  readonly state: 'starting' | 'running' | 'down';
  readonly restarts: number;
}

interface Slot {
  readonly number: number;
  child: Child | undefined;
  state: WorkerStatus['state'];
  url: string | null;
  restarts: number;
}

export interface WorkersOptions {
  readonly count: number;
  readonly config: Omit<WorkerConfig, 'worker'>;
  readonly onReport: (report: WorkerTells['report']) => void;
  readonly onExit: (name: string, how: string) => void;
}

/** The worker processes: started, and started again when they die. */
export class Workers {
  readonly #options: WorkersOptions;
  readonly #slots: Slot[];
  #ending = false;

  constructor(options: WorkersOptions) {
    this.#options = options;
    this.#slots = Array.from({ length: options.count }, (_, number) => ({
      number,
      child: undefined,
      state: 'starting',
      url: null,
      restarts: 0,
    }));
  }

  async start(): Promise<void> {
    await Promise.all(this.#slots.map((slot) => this.#start(slot)));
  }

  get statuses(): WorkerStatus[] {
    return this.#slots.map((slot) => ({
      name: nameOf(slot),
      pid: slot.child?.pid ?? 0,
      url: slot.url,
      state: slot.state,
      restarts: slot.restarts,
    }));
  }

  async stop(): Promise<void> {
    this.#ending = true;
    await Promise.all(
      this.#slots.map(
        ({ child }) => child?.end(() => child.peer.call('stop', null, STOP_MS)) ?? Promise.resolve(),
      ),
    );
  }

  async #start(slot: Slot): Promise<void> {
    slot.state = 'starting';
    const child: Child = new ManagedProcess('../worker/main.js');
    slot.child = child;
    child.peer.hear('report', this.#options.onReport);
    void child.exited.then((how) => {
      slot.state = 'down';
      if (this.#ending) return;
      this.#options.onExit(nameOf(slot), how);
      setTimeout(() => void this.#again(slot), RESTART_MS);
    });
    const config = { ...this.#options.config, worker: slot.number };
    slot.url = (await child.peer.call('start', config, START_MS)).url;
    slot.state = 'running';
  }

  async #again(slot: Slot): Promise<void> {
    if (this.#ending) return;
    slot.restarts += 1;
    // A start that fails ends its process, which comes back here.
    await this.#start(slot).catch(() => slot.child?.kill());
  }
}

function nameOf(slot: Slot): string {
  return `worker-${slot.number + 1}`;
}
