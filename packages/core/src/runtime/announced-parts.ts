import type { AnnouncedPart, AnnouncedSettings } from '../contracts/fleet.js';
import type { NearStatus } from '../contracts/near.js';
import { Tally } from './tally.js';

/** The parts that one announcement names; more are counted as omitted. */
export const MAX_PARTS = 48;

/** The settings of collections and views of which the rest follows, or of which nobody asks. */
interface Named {
  readonly name: string;
}

const SHOWN = [
  'ttlMs',
  'negativeTtlMs',
  'staleWhileRevalidateMs',
  'staleIfErrorMs',
  'strategy',
  'consistency',
  'maxPayloadBytes',
  'storeTimeoutMs',
  'maxConcurrentLoads',
  'flushFirst',
  'additional',
] as const;

interface Part {
  readonly kind: AnnouncedPart['kind'];
  readonly settings: Named;
  readonly tally: Tally;
}

/** The collections and views of one Lockstep, with the counters that each adds to. */
export class AnnouncedParts {
  readonly #parts: Part[] = [];

  /** The counters of a new part. */
  add(kind: AnnouncedPart['kind'], settings: Named): Tally {
    const tally = new Tally();
    this.#parts.push({ kind, settings, tally });
    return tally;
  }

  get omitted(): number {
    return Math.max(0, this.#parts.length - MAX_PARTS);
  }

  list(nears: readonly NearStatus[]): AnnouncedPart[] {
    const nearOf = new Map(nears.map(({ collection, ...near }) => [collection, near]));
    return this.#parts.slice(0, MAX_PARTS).map(({ kind, settings, tally }) => {
      const { buffer, hits, loadedRows, loads, misses, writes } = tally;
      const figures = { hits, misses: { ...misses }, loads, loadedRows, writes: { ...writes } };
      const near = kind === 'collection' ? nearOf.get(settings.name) : undefined;
      return {
        ...{ kind, name: settings.name, settings: shown(settings), figures },
        ...(buffer === undefined ? {} : { buffer }),
        ...(near === undefined ? {} : { near }),
      };
    });
  }
}

function shown(settings: Named): AnnouncedSettings {
  const given = settings as unknown as Readonly<Record<string, unknown>>;
  const plain = SHOWN.flatMap((name) => {
    const value = given[name];
    return isPlain(value) ? [[name, value] as const] : [];
  });
  const tags = given['tags'];
  return {
    ...Object.fromEntries(plain),
    ...(Array.isArray(tags) ? { tags: tags.length } : {}),
    ...(given['schema'] === undefined ? {} : { schema: true }),
    ...(given['burst'] === undefined ? {} : { burst: true }),
    ...(given['near'] === undefined ? {} : { near: true }),
  };
}

function isPlain(value: unknown): value is string | number | boolean {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean';
}
