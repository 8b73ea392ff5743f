import type { StoreFinding } from '@lockstep/core';
import type { Db, Document } from 'mongodb';
import { answered } from '../wire/answered.js';

const TIME = { maxTimeMS: 5_000 } as const;
const PROBES = 10;
const SLOW_MS = 5;
/** Tested from here on; older ones are refused when a collection is opened. */
const OLDEST_MAJOR = 6;

/** Looks at the server and the way to it. */
export async function examineServer(db: Db): Promise<readonly StoreFinding[]> {
  const admin = db.client.db('admin');
  const name = `mongodb:${db.databaseName}`;
  const [hello, build] = await Promise.all([
    answered(`${name}: hello`, admin.command({ hello: 1 }), TIME),
    answered(`${name}: version`, admin.command({ buildInfo: 1 }), TIME),
  ]);
  const version = String(build['version']);
  const isOld = Number.parseInt(version, 10) < OLDEST_MAJOR;
  return [
    {
      what: 'server',
      isWell: !isOld,
      says: `MongoDB ${version}${isOld ? `: needs ${OLDEST_MAJOR}.0 or later` : ''}`,
    },
    topology(hello),
    await network(name, admin),
  ];
}

function topology({ hosts, isWritablePrimary, me, msg, setName }: Document): StoreFinding {
  if (msg === 'isdbgrid') {
    return { what: 'topology', isWell: false, says: 'a sharded cluster, which is not tested' };
  }
  if (typeof setName !== 'string') {
    const says =
      'standalone: no change feed, no transactions: start it with --replSet (one member is enough)';
    return { what: 'topology', isWell: false, says };
  }
  if (isWritablePrimary !== true) {
    const says = `${String(me)} takes no writes: leave directConnection out of the address, and name the set (replicaSet=${setName})`;
    return { what: 'topology', isWell: false, says };
  }
  const members = Array.isArray(hosts) ? hosts.length : 1;
  return { what: 'topology', isWell: true, says: `replica set ${setName}, ${members} members` };
}

async function network(name: string, admin: Db): Promise<StoreFinding> {
  const times: number[] = [];
  for (let i = 0; i < PROBES; i += 1) {
    const started = performance.now();
    await answered(`${name}: ping`, admin.command({ ping: 1 }), TIME);
    times.push(performance.now() - started);
  }
  const median = times.sort((a, b) => a - b)[PROBES / 2] ?? 0;
  return {
    what: 'network',
    isWell: median < SLOW_MS,
    says: `a command takes ${median.toFixed(2)} ms (median of ${PROBES})${median < SLOW_MS ? '' : ': run it nearer to the database'}`,
  };
}
