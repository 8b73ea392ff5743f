import type { CacheInfo } from '@lockstep/core';
import type { Redis } from 'ioredis';
import { asError, bounded } from './bounded.js';
import type { Topology } from './topology/topology.js';

type Fields = ReadonlyMap<string, string>;

/** The oldest that is tested. Valkey tells it as the Redis that it is compatible with. */
const OLDEST = [6, 2] as const;

/** The primaries' own answers about themselves. Rejects when none of them answers. */
export async function serverInfo(topology: Topology, timeoutMs: number): Promise<CacheInfo> {
  const servers = topology.primaries();
  const answers = await Promise.all(servers.map((server) => fieldsOf(server, timeoutMs).catch(asError)));
  const found = answers.filter((answer): answer is Fields => !(answer instanceof Error));
  if (found.length === 0) throw answers[0] ?? new Error('no Redis server is known');
  const complete = found.length === servers.length;
  const told = complete && found.every((fields) => fields.has('maxmemory_policy'));
  const policies = unique(found.map((fields) => fields.get('maxmemory_policy')));
  const versions = unique(found.map(versionOf));
  const policy = policies.length === 0 ? 'unknown' : policies.join(', ');
  const count = servers.length === 1 ? '' : ` of ${servers.length} primaries`;
  return {
    evicts: evicts(policies, told),
    evictsPersistent: evictsPersistent(policies, told),
    appendsToFile: appendsToFile(found, complete),
    outdated: found.some(isOld) ? `needs Redis ${OLDEST.join('.')}, or Valkey, or later` : undefined,
    generation: complete ? generationOf(found) : undefined,
    primaries: servers.length,
    description: `${versions.join(', ')}, ${topology.description}${count}, maxmemory-policy ${policy}`,
  };
}

/** `volatile-*` drops entries as well: all of them have a TTL. */
function evicts(policies: readonly string[], complete: boolean): boolean | undefined {
  if (policies.some((policy) => policy !== 'noeviction')) return true;
  return complete ? false : undefined;
}

/** Only `allkeys-*` drops what has no TTL. */
function evictsPersistent(policies: readonly string[], complete: boolean): boolean | undefined {
  if (policies.some((policy) => policy.startsWith('allkeys-'))) return true;
  const known = policies.every((policy) => policy === 'noeviction' || policy.startsWith('volatile-'));
  return complete && known ? false : undefined;
}

/** One primary without an append-only file is enough to make it false. */
function appendsToFile(servers: readonly Fields[], complete: boolean): boolean | undefined {
  const enabled = servers.map((fields) => fields.get('aof_enabled'));
  if (enabled.includes('0')) return false;
  return complete && !enabled.includes(undefined) ? true : undefined;
}

/**
 * The primaries' run ids (new with each start) and replication ids (new with each promotion), so that
 * a restart and a failover show, whichever server it is afterwards.
 */
function generationOf(servers: readonly Fields[]): string | undefined {
  const ids = servers.map((fields) => generationText(fields.get('run_id'), fields.get('master_replid')));
  return ids.includes(undefined) ? undefined : ids.sort().join();
}

/** The identity of one primary's data. */
export function generationText(run: string | undefined, replication: string | undefined): string | undefined {
  return run === undefined && replication === undefined ? undefined : `${run ?? ''}/${replication ?? ''}`;
}

function versionOf(fields: Fields): string {
  const valkey = fields.get('valkey_version');
  return valkey === undefined ? `Redis ${fields.get('redis_version') ?? 'unknown'}` : `Valkey ${valkey}`;
}

function isOld(fields: Fields): boolean {
  const [major, minor] = (fields.get('redis_version') ?? '').split('.').map(Number);
  if (major === undefined || minor === undefined) return false;
  return major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1]);
}

function unique(values: readonly (string | undefined)[]): string[] {
  return [...new Set(values.filter((value) => value !== undefined))].sort();
}

async function fieldsOf(server: Redis, timeoutMs: number): Promise<Fields> {
  const sections = ['server', 'replication', 'memory', 'persistence'] as const;
  // A user that may not run INFO says nothing of itself; it may still be a fine cache.
  const forbidden = (error: unknown): string => {
    if (asError(error).message.startsWith('NOPERM')) return '';
    throw error;
  };
  const texts = await bounded(
    Promise.all(sections.map((section) => server.info(section).catch(forbidden))),
    timeoutMs,
  );
  const fields = new Map<string, string>();
  for (const line of texts.join('\n').split(/\r?\n/)) {
    const colon = line.indexOf(':');
    if (colon > 0) fields.set(line.slice(0, colon), line.slice(colon + 1));
  }
  return fields;
}
