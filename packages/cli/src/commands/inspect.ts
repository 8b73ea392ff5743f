import { inspect, isDeepStrictEqual } from 'node:util';
import {
  type CacheHit,
  type CollectionInfo,
  type InspectedEntry,
  type KeptOfRow,
  type Lockstep,
  messageOf,
  type RecordedCollection,
} from '@lockstep/core';
import { Command } from 'commander';
import { bounded, collectionOf, FOUND, idOf, OK, STORE_TIMEOUT_MS, withSession } from '../session.js';
import { readable, versionLine } from '../versions.js';

const WELL: readonly string[] = ['in step', 'not cached', 'not flushed yet'];

export function inspectCommand(): Command {
  return new Command('inspect')
    .description('one row, as the cache and the store have it: versions, writers, expiry, tags, the feed')
    .argument('<collection>')
    .argument('<id>', 'as the application has it; a composite one as JSON: \'["acme","colour"]\'')
    .option('--values', 'print the values, too', false)
    .action(async (name: string, id: string, flags: { readonly values: boolean }, command: Command) => {
      await withSession(command, async (session) => {
        const collection = collectionOf(session.lockstep, name);
        const { keyPrefix, open, store } = collection;
        await open();
        const key = store.keyOf(idOf(collection, id) as never);
        const [{ entry, hit }, [row], kept, recorded] = await Promise.all([
          entryAt(session.lockstep, collection, key),
          store.read([key], { primary: true, timeoutMs: STORE_TIMEOUT_MS }),
          keptOf(collection, key),
          recordedOf(session.lockstep, collection),
        ]);
        const unread = (error: unknown): Error => new Error(`unreadable: ${messageOf(error)}`);
        const value = hit && (await collection.decode(hit, key).catch(unread));
        const seen = row && { version: row.version, value: await collection.seen(row.value) };
        const verdict =
          value instanceof Error
            ? value.message
            : hit?.unflushed === true
              ? 'not flushed yet'
              : verdictOf(hit && { version: hit.version, value }, seen);
        const cached = value instanceof Error ? undefined : value;
        const tags = recorded.flatMap((each) => each.tags?.map((columns) => columns.join(', ')) ?? []);
        const shownEntry = entry && { ...shownOf(entry), ...readable(entry.version, store.name) };
        session.result(
          {
            collection: name,
            key,
            cacheKey: keyPrefix + key,
            entry: shownEntry ?? null,
            row: row && readable(row.version, store.name),
            verdict,
            ...(flags.values ? { cached, stored: row?.value } : {}),
            tags,
            pointers: recorded.flatMap(({ lookup }) => (lookup === undefined ? [] : [lookup.join(', ')])),
            feed: kept && {
              changes: kept.changes.map((change) => ({ ...change, ...readable(change.version, store.name) })),
              tombstone: kept.tombstone === undefined ? null : readable(kept.tombstone, store.name),
            },
          },
          [
            `cache key  ${keyPrefix}${key}`,
            `entry      ${entry === undefined ? 'none' : `${entryLine(entry)}, ${versionLine(entry.version, store.name)}`}`,
            `row        ${row === undefined ? 'none' : versionLine(row.version, store.name)}`,
            `verdict    ${verdict}`,
            ...tags.map((columns) => `views by   ${columns}`),
            ...feedLines(kept, store.name),
            ...(flags.values ? [`cached     ${inspect(cached)}`, `stored     ${inspect(row?.value)}`] : []),
          ],
        );
        return WELL.includes(verdict) ? OK : FOUND;
      });
    });
}

/** What is there, and what a reader would take of it. */
async function entryAt(
  { cache }: Lockstep,
  { keyPrefix, serializer }: CollectionInfo,
  key: string,
): Promise<{ readonly entry: InspectedEntry | undefined; readonly hit: CacheHit | undefined }> {
  const cacheKey = keyPrefix + key;
  const { encoding } = serializer;
  const [[hit], entry] = await Promise.all([
    bounded('cache', cache.read([cacheKey], encoding)),
    bounded('cache', Promise.resolve(cache.inspect?.(cacheKey, encoding))),
  ]);
  if (hit instanceof Error) throw hit;
  return { entry, hit };
}

/** Of a store that keeps nothing beside the row: `undefined`. */
export async function keptOf({ store }: CollectionInfo, key: string): Promise<KeptOfRow | undefined> {
  if (store.feed?.keptOf === undefined) return undefined;
  return await bounded(store.feed.name, store.feed.keptOf(store.source, key));
}

/** What the store records of the table for this cache: collections, pointers and tags. */
export async function recordedOf(
  { prefix }: Lockstep,
  { store }: CollectionInfo,
): Promise<readonly RecordedCollection[]> {
  if (store.feed === undefined) return [];
  const records = await bounded(store.feed.name, store.feed.registry.read(prefix, [store.source]));
  return records.flatMap(({ collections }) => collections);
}

function shownOf({ expiresInMs, knownAbsent, payload, staleAtMs, state, unflushed }: InspectedEntry): {
  readonly state: 'value' | 'absent' | 'hole';
} & Record<string, unknown> {
  return {
    state: state === 'hole' ? 'hole' : payload === null ? 'absent' : 'value',
    bytes: payload === null ? 0 : Buffer.byteLength(payload),
    expiresInMs: expiresInMs ?? null,
    refreshAt: staleAtMs === 0 ? null : new Date(staleAtMs).toISOString(),
    knownAbsent,
    unflushed: unflushed === true,
  };
}

function entryLine(entry: InspectedEntry): string {
  const { state } = shownOf(entry);
  const kind = entry.knownAbsent ? 'hole, known to be absent' : state;
  const bytes = entry.payload === null ? '' : ` of ${Buffer.byteLength(entry.payload)} bytes`;
  const left = entry.expiresInMs === undefined ? 'until it is flushed' : `for ${seconds(entry.expiresInMs)}`;
  return `${kind}${bytes}${entry.unflushed ? ', unflushed' : ''}, ${left}`;
}

function seconds(ms: number): string {
  return ms < 10_000 ? `${Math.round(ms)} ms` : `${Math.round(ms / 1_000)} s`;
}

function feedLines(kept: KeptOfRow | undefined, source: string): string[] {
  if (kept === undefined) return [];
  return [
    ...kept.changes.map(({ done, op, version }) => {
      const by = done.length === 0 ? '' : `, dealt with by ${done.join(', ')}`;
      return `feed       ${op}, ${versionLine(version, source)}${by}`;
    }),
    ...(kept.tombstone === undefined ? [] : [`deleted    ${versionLine(kept.tombstone, source)}`]),
    ...(kept.changes.length === 0 ? ['feed       nothing of it waits'] : []),
  ];
}

interface Side {
  readonly version: number;
  readonly value: unknown;
}

/** An entry of a deleted row has a version that no row has. */
export function verdictOf(
  entry: Side | undefined,
  row: Side | undefined,
): 'not cached' | 'in step' | 'stale' | 'different' | 'ahead' {
  if (entry === undefined) return 'not cached';
  if (row === undefined) return entry.value === null ? 'in step' : 'stale';
  if (entry.version < row.version) return 'stale';
  if (entry.version > row.version) return 'ahead';
  return isDeepStrictEqual(entry.value, row.value) ? 'in step' : 'different';
}
