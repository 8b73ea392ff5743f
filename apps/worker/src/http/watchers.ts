import type { ServerResponse } from 'node:http';
import type { Point, Recorder, State } from '../recorder.js';

/** Pages that may watch at once. */
const MAX_WATCHERS = 20;
/** A page that lets this much wait, in bytes, does not read any more. */
const MAX_WAITING = 1_048_576;

/** The open pages, fed by server-sent events: `history` once, then a `point` at a time. */
export class Watchers {
  readonly #recorder: Recorder;
  readonly #open = new Set<ServerResponse>();
  readonly #unlisten: () => void;

  constructor(recorder: Recorder) {
    this.#recorder = recorder;
    this.#unlisten = recorder.listen((point, state) => this.#tell(point, state));
  }

  get full(): boolean {
    return this.#open.size >= MAX_WATCHERS;
  }

  add(response: ServerResponse, headers: Readonly<Record<string, string>>): void {
    response.writeHead(200, { ...headers, 'content-type': 'text/event-stream; charset=utf-8' });
    const { points, state } = this.#recorder;
    response.write(event('history', { points, state: state ?? null }));
    this.#open.add(response);
    response.on('close', () => this.#open.delete(response));
  }

  #tell(point: Point, state: State): void {
    if (this.#open.size === 0) return;
    const message = event('point', { point, state });
    for (const response of this.#open) {
      if (response.writableLength > MAX_WAITING) response.destroy();
      else response.write(message);
    }
  }

  stop(): void {
    this.#unlisten();
    for (const response of this.#open) response.end();
  }
}

function event(name: string, data: object): string {
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}
