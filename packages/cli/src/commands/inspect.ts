import { inspect, isDeepStrictEqual } from 'node:util';
import { messageOf } from '@lockstep/core';
import { Command } from 'commander';
import { bounded, collectionOf, FOUND, idOf, OK, STORE_TIMEOUT_MS, withSession } from '../session.js';

const WELL: readonly string[] = ['in step', 'not cached', 'not flushed yet'];

export function inspectCommand(): Command {
  return new Command('inspect')
    .description('one row, as the cache and the store have it')
    .argument('<collection>')
    .argument('<id>', 'as the application has it; a composite one as JSON: \'["acme","colour"]\'')
    .option('--values', 'print the values, too', false)
    .action(async (name: string, id: string, flags: { readonly values: boolean }, command: Command) => {
      await withSession(command, async (session) => {
        const collection = collectionOf(session.lockstep, name);
        const { decode, keyPrefix, open, serializer, store } = collection;
        await open();
        const key = store.keyOf(idOf(collection, id) as never);
        const [[hit], [row]] = await Promise.all([
          bounded('cache', session.lockstep.cache.read([keyPrefix + key], serializer.encoding)),
          store.read([key], { primary: true, timeoutMs: STORE_TIMEOUT_MS }),
        ]);
        if (hit instanceof Error) throw hit;
        const unread = (error: unknown): Error => new Error(`unreadable: ${messageOf(error)}`);
        const value = hit && (await decode(hit, key).catch(unread));
        const entry = hit && { state: hit.payload === null ? 'absent' : 'value', version: hit.version };
        const verdict =
          value instanceof Error
            ? value.message
            : hit?.unflushed === true
              ? 'not flushed yet'
              : verdictOf(hit && { version: hit.version, value }, row);
        const cached = value instanceof Error ? undefined : value;
        const shown = flags.values ? { cached, stored: row?.value } : {};
        session.result(
          {
            collection: name,
            key,
            cacheKey: keyPrefix + key,
            entry: entry ?? null,
            row: row && { version: row.version },
            verdict,
            ...shown,
          },
          [
            `cache key  ${keyPrefix}${key}`,
            `entry      ${entry === undefined ? 'none, or a hole' : `${entry.state}, version ${entry.version}`}`,
            `row        ${row === undefined ? 'none' : `version ${row.version}`}`,
            `verdict    ${verdict}`,
            ...(flags.values ? [`cached     ${inspect(cached)}`, `stored     ${inspect(row?.value)}`] : []),
          ],
        );
        return WELL.includes(verdict) ? OK : FOUND;
      });
    });
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
