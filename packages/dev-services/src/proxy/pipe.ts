import type { Socket } from 'node:net';

/** The treatment of the bytes of one direction. */
export type PipeMode = 'pass' | 'drop' | 'hold';

/** The faults of one direction, shared by all connections of a proxy. */
export interface PipeFaults {
  mode: PipeMode;
  delayMs: number;
  /** Bytes that still pass before the connection is reset; undefined: no limit. */
  budget: number | undefined;
}

/** The bytes that a delay may keep in memory, per direction of a connection; beyond them the sender is slowed down. */
const MAX_WAITING_BYTES = 16 * 1024 * 1024;

/** Copies one direction of one connection, through whatever faults are set. */
export class Pipe {
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #faults: PipeFaults;
  readonly #reset: () => void;
  /** Late ones, first come first: timers of their own could change places. */
  readonly #late: { readonly chunk: Buffer; readonly dueMs: number }[] = [];
  #waiting = 0;
  #timer: NodeJS.Timeout | undefined;
  #ended = false;
  #closed = false;
  /** True once bytes were lost: what follows would make no sense to the receiver. */
  lossy = false;

  constructor(from: Socket, to: Socket, faults: PipeFaults, reset: () => void) {
    this.#from = from;
    this.#to = to;
    this.#faults = faults;
    this.#reset = reset;
    from.on('data', (chunk) => this.#data(chunk));
    from.on('end', () => {
      this.#ended = true;
      this.#finish();
    });
    to.on('drain', () => this.update());
    this.update();
  }

  /** Applies a changed mode. Held bytes wait in the kernel's buffers, so that holding has a bound. */
  update(): void {
    const full = this.#to.writableNeedDrain || this.#waiting > MAX_WAITING_BYTES;
    if (this.#faults.mode === 'hold' || (this.#faults.mode === 'pass' && full)) this.#from.pause();
    else this.#from.resume();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  #data(chunk: Buffer): void {
    const { mode, delayMs } = this.#faults;
    if (mode === 'drop' || this.lossy) {
      this.lossy = true;
      return;
    }
    if (delayMs === 0 && this.#late.length === 0) {
      this.#write(chunk);
      return;
    }
    this.#late.push({ chunk, dueMs: performance.now() + delayMs });
    this.#waiting += chunk.length;
    if (this.#late.length === 1) this.#wait(delayMs);
    this.update();
  }

  #wait(ms: number): void {
    if (!this.#closed) this.#timer = setTimeout(() => this.#deliver(), ms);
  }

  /** Delivers the chunks that are due. */
  #deliver(): void {
    const nowMs = performance.now();
    for (let first = this.#late[0]; first !== undefined; first = this.#late[0]) {
      if (first.dueMs > nowMs) {
        this.#wait(first.dueMs - nowMs);
        return;
      }
      this.#late.shift();
      this.#waiting -= first.chunk.length;
      this.#write(first.chunk);
    }
    this.#finish();
  }

  #write(chunk: Buffer): void {
    if (this.#closed || this.lossy || this.#to.destroyed) return;
    const { budget } = this.#faults;
    if (budget !== undefined && chunk.length > budget) {
      this.#faults.budget = undefined;
      // The bytes within the budget arrive before the reset does.
      if (budget > 0) this.#to.write(chunk.subarray(0, budget), () => this.#reset());
      else this.#reset();
      this.lossy = true;
      return;
    }
    if (budget !== undefined) this.#faults.budget = budget - chunk.length;
    this.#to.write(chunk);
    this.update();
  }

  #finish(): void {
    if (this.#ended && this.#late.length === 0 && this.#faults.mode !== 'drop') this.#to.end();
  }
}
