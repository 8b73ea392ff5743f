import type { Promised, ViewRead } from './history.js';

/** What a process tells the parent, a line of JSON each. */
export type ViewsLine =
  | ({ readonly type: 'promised' } & Promised)
  | ({ readonly type: 'read' } & ViewRead)
  | { readonly type: 'counts'; readonly counts: Readonly<Record<string, number>> }
  | { readonly type: 'ready' };

/** Everything that the parent has heard: a write counts as acknowledged once its line is here. */
export class ViewsRecorder {
  readonly promised: Promised[] = [];
  readonly reads: ViewRead[] = [];
  readonly counts: Record<string, number> = {};

  /** Takes the lines of one process, in chunks of any size. Returns what to feed. */
  listen(ready: () => void): (chunk: string) => void {
    let rest = '';
    return (chunk) => {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      for (const text of lines) this.#take(JSON.parse(text) as ViewsLine, ready);
    };
  }

  #take(line: ViewsLine, ready: () => void): void {
    switch (line.type) {
      case 'promised': {
        const { type: _, ...promised } = line;
        this.promised.push(promised);
        break;
      }
      case 'read': {
        const { type: _, ...read } = line;
        this.reads.push(read);
        break;
      }
      case 'counts':
        for (const [name, count] of Object.entries(line.counts)) this.count(name, count);
        break;
      case 'ready':
        ready();
    }
  }

  count(name: string, by = 1): void {
    this.counts[name] = (this.counts[name] ?? 0) + by;
  }
}
