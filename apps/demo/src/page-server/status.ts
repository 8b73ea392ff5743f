import { keyPrefix } from '@lockstep/core';
import type { MongoService, OwnedProcess } from '@lockstep/dev-services';
import { systemMs } from '@lockstep/torture';
import type { FaultRecord } from '../faults/injector.js';
import type { Figures } from '../figures.js';
import { COLLECTION, NAIVE_PREFIX, PREFIX } from '../naming.js';
import type { DemoOptions } from '../options.js';
import type { ApplicationStatus } from '../supervisor/applications.js';
import type { Phase } from '../supervisor/recorder.js';
import type { WorkerStatus } from '../supervisor/workers.js';

import type { PageContent } from './content.js';

/** A server's address and, when this process started it, its process id. */
export interface ServerStatus {
  readonly url: string;
  readonly version: string;
  readonly pid: number | null;
}

export interface MongoStatus extends ServerStatus {
  /** `null`: a standalone server. */
  readonly replicaSet: string | null;
  /** The servers of the set, when this process started them. */
  readonly members: readonly { readonly url: string; readonly pid: number; readonly running: boolean }[];
}

/** All that an outside checker or fault injector needs; the figures are those of `--json` so far. */
export interface Status extends Figures {
  readonly phase: Phase;
  readonly url: string;
  readonly pid: number;
  /** Since the load began, in ms. */
  readonly uptimeMs: number;
  readonly engine: string;
  readonly store: string;
  readonly mix: string;
  readonly seed: number;
  readonly postgres: ServerStatus | null;
  readonly mongo: MongoStatus | null;
  /** The cache's; `null`: the cache is in memory. */
  readonly redis: ServerStatus | null;
  readonly queueRedis: ServerStatus | null;
  readonly cacheDown: boolean;
  /** The replica set has no primary that commits. */
  readonly storeDown: boolean;
  readonly applications: readonly ApplicationStatus[];
  readonly workers: readonly WorkerStatus[];
  /** The table, or MongoDB's collection; its columns, or fields. */
  readonly table: string;
  readonly keyColumn: string;
  readonly versionColumn: string;
  /** The name that Lockstep knows it by. */
  readonly collection: string;
  /** A cache key is this and the id. */
  readonly keyPrefix: string;
  readonly feed: { readonly pending: number; readonly oldestMs: number } | null;
  readonly queue: {
    readonly waiting: number;
    readonly active: number;
    readonly delayed: number;
    readonly dead: number;
  } | null;
  readonly faultLog: readonly FaultRecord[];
  readonly versions: Readonly<Record<string, string>>;
  readonly notes: readonly string[];
  readonly unexpectedExits: number;
  readonly options: DemoOptions;
}

export function statusOf({ shop, recorder, mix }: PageContent, url: string): Status {
  const { options, servers, store } = shop;
  const { table, keyColumn, versionColumn, keyStart } = store.names;
  const database: ServerStatus = {
    url: servers.store.url,
    version: servers.store.version,
    pid: pidOf(servers.store),
  };
  return {
    ...shop.figures,
    phase: recorder.phase,
    url,
    pid: process.pid,
    uptimeMs: shop.loadSinceMs === 0 ? 0 : systemMs() - shop.loadSinceMs,
    engine: options.engine,
    store: options.store,
    mix,
    seed: options.seed,
    postgres: options.store === 'postgres' ? database : null,
    mongo: servers.mongo === null ? null : { ...database, ...replicaSetOf(servers.mongo) },
    redis: servers.cache === null ? null : serverStatus(servers.cache),
    queueRedis: servers.queue === null ? null : serverStatus(servers.queue),
    cacheDown: shop.watch?.down ?? false,
    storeDown: shop.storeWatch?.down ?? false,
    applications: shop.applications.statuses,
    workers: shop.workers.statuses,
    table,
    keyColumn,
    versionColumn,
    collection: COLLECTION,
    keyPrefix: options.engine === 'naive' ? NAIVE_PREFIX : keyPrefix(PREFIX, COLLECTION) + keyStart,
    feed: shop.feed?.value ?? null,
    queue: shop.queue?.value ?? null,
    faultLog: shop.faults.records,
    versions: shop.serverVersions,
    notes: shop.notes,
    unexpectedExits: shop.unexpectedExits,
    options,
  };
}

function replicaSetOf({ replicaSet, members }: MongoService): Pick<MongoStatus, 'replicaSet' | 'members'> {
  return {
    replicaSet: replicaSet ?? null,
    members: members.map(({ host, port, pid, running }) => ({
      url: `mongodb://${host}:${port}/?directConnection=true`,
      pid,
      running,
    })),
  };
}

function serverStatus(service: { readonly url: string; readonly version: string }): ServerStatus {
  return { url: service.url, version: service.version, pid: pidOf(service) };
}

function pidOf(service: object): number | null {
  const { process: owned, members } = service as {
    process?: OwnedProcess;
    members?: readonly OwnedProcess[];
  };
  return (owned ?? members?.[0])?.pid ?? null;
}
