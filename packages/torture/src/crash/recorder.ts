import type { Acked, Read, Write } from './history.js';
import { decodeLine } from './lines.js';
import type { CrashRow } from './rows.js';

/** Everything that the parent has heard: a write counts as acknowledged once its line is here. */
export class Recorder {
  readonly writes: Write[] = [];
  readonly reads: Read[] = [];
  /** Counts of writes, and of the outcomes of buffered ones. */
  readonly counts: Record<string, number> = {};
  acknowledged = 0;
  buffered = 0;

  /** Takes the lines of one process, in chunks of any size. Returns what to feed. */
  listen(ready: () => void): (chunk: string) => void {
    const under = new Map<number, Write>();
    let rest = '';
    return (chunk) => {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      for (const text of lines) this.#take(text, under, ready);
    };
  }

  #take(text: string, under: Map<number, Write>, ready: () => void): void {
    const line = decodeLine(text);
    switch (line?.type) {
      case 'begin': {
        const { key, kind, startUs, token } = line;
        const write: Write = { kind, key, token, startUs, foreign: false };
        under.set(line.number, write);
        this.writes.push(write);
        break;
      }
      case 'end': {
        const write = under.get(line.number);
        under.delete(line.number);
        if (write === undefined) break;
        write.ack = line.ack;
        this.acknowledged++;
        if (line.ack.store === 'buffered') this.buffered++;
        this.count(`${write.kind}s`);
        break;
      }
      case 'nothing': {
        const write = under.get(line.number);
        under.delete(line.number);
        if (write !== undefined) this.writes.splice(this.writes.lastIndexOf(write), 1);
        this.count('refused');
        break;
      }
      case 'read': {
        const { type: _, ...read } = line;
        this.reads.push(read);
        break;
      }
      case 'tally':
        for (const [name, count] of Object.entries(line.counts)) this.count(name, count);
        break;
      case 'ready':
        ready();
        break;
      default:
        this.count('unreadable');
    }
  }

  count(name: string, by = 1): void {
    this.counts[name] = (this.counts[name] ?? 0) + by;
  }

  /** A write of the foreign writer's; its acknowledgement comes with `foreignEnd`. */
  foreignBegin({ _id: key, token }: Pick<CrashRow, '_id' | 'token'>, startUs: number): Write {
    const write: Write = { kind: 'update', key, token, foreign: true, startUs };
    this.writes.push(write);
    return write;
  }

  foreignEnd(write: Write, endUs: number, version: number): void {
    write.ack = {
      endUs,
      version,
      store: 'committed',
      cache: 'foreign',
      seen: write.token,
      coalesced: false,
      after: '',
    };
    this.acknowledged++;
    this.count('foreign');
  }

  /** A foreign update that found no row. */
  foreignNothing(write: Write): void {
    this.writes.splice(this.writes.lastIndexOf(write), 1);
  }

  /** Notes the rows that were there before the first write. */
  seed(rows: Iterable<readonly [string, { readonly token: string; readonly version: number }]>): void {
    for (const [key, { token, version }] of rows) {
      const ack: Acked['ack'] = {
        endUs: 0,
        version,
        store: 'committed',
        cache: 'foreign',
        seen: token,
        coalesced: false,
        after: '',
      };
      this.writes.push({ kind: 'put', key, token, foreign: false, startUs: 0, ack });
    }
  }
}
