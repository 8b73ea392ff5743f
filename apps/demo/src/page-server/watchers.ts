import type { ServerResponse } from 'node:http';
import type { PageContent } from './content.js';
import type { Status } from './status.js';

/** Pages that may watch at once. */
const MAX_WATCHERS = 20;
/** A page that lets this much wait, in bytes, does not read any more. */
const MAX_WAITING = 4_194_304;

/** The open pages, fed by server-sent events: `history` once, then a `point` at a time. */
export class Watchers {
  readonly #content: PageContent;
  readonly #status: () => Status;
  readonly #open = new Set<ServerResponse>();
  readonly #stop: () => void;

  constructor(content: PageContent, status: () => Status) {
    this.#content = content;
    this.#status = status;
    this.#stop = content.recorder.listen((point) => {
      if (this.#open.size === 0) return;
      const message = event('point', { point, status: status() });
      for (const response of this.#open) {
        if (response.writableLength > MAX_WAITING) response.destroy();
        else response.write(message);
      }
    });
  }

  get full(): boolean {
    return this.#open.size >= MAX_WATCHERS;
  }

  add(response: ServerResponse): void {
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    response.write(event('history', { points: this.#content.recorder.points, status: this.#status() }));
    this.#open.add(response);
    response.on('close', () => this.#open.delete(response));
  }

  stop(): void {
    this.#stop();
    for (const response of this.#open) response.end();
  }
}

function event(name: string, data: object): string {
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}
