import { parentPort, workerData } from 'node:worker_threads';
import { redisCache } from '@lockstep/cache-redis';
import { type Collection, createLockstep, type StoreAdapter, type WriteResult } from '@lockstep/core';
import { msgpackSerializer } from '@lockstep/core/msgpack';
import { postgresStore } from '@lockstep/store-postgres';
import knexPackage from 'knex';
import { randomChoice, randomInt, seededRandom } from '../random.js';
import { changeOf, type Row } from './changes.js';
import type { ApplicationSettings } from './settings.js';
import { ROWS, Shared } from './shared.js';

const LOOPS = 3;
const MAX_PROBLEMS = 20;

/**
 * One process of the application, with modules, connections and knowledge of the table of its own. It reads and writes
 * until it is told to stop, and judges what it reads: is it a row as this release knows them, and no older than what was
 * acknowledged, by whomever, before the read began?
 */
const settings = workerData as ApplicationSettings;
const { change, control, index, release, serializer, table: name } = settings;
const schemaChange = changeOf(change);
const { mark, problem } = schemaChange[release];
const shared = new Shared(settings.shared);
const random = seededRandom(settings.seed, index);
const problems: string[] = [];
/** Rows whose mark is on its way. */
const marking = new Set<number>();
let isStopped = false;

const pool = { min: 0, max: 4 };
const knex = knexPackage({ client: 'pg', connection: settings.postgresUrl, pool });
const pg = postgresStore({ knex });
const table = pg.table<Row, number>(name, { key: 'id' });
const lockstep = createLockstep({ cache: redisCache({ url: settings.redisUrl }), prefix: name });
const rows: Collection<Row, number> = lockstep.collection({
  name: 'rows',
  store: control === 'no-shapes' ? withoutShapes(table) : table,
  ...(serializer === 'msgpack' && { serializer: msgpackSerializer() }),
});
const relay = lockstep.startRelay();
lockstep.events.on('error', ({ error, where }) => complain(`error event at ${where}: ${String(error)}`));

/** The control: entries do not say which columns they hold. */
function withoutShapes(store: StoreAdapter<Row, number>): StoreAdapter<Row, number> {
  return new Proxy(store, {
    get(target, member) {
      if (member === 'shape') return undefined;
      const found: unknown = Reflect.get(target, member, target);
      return typeof found === 'function' ? found.bind(target) : found;
    },
  });
}

function complain(what: string): void {
  if (problems.length < MAX_PROBLEMS) problems.push(`${release} ${index}: ${what}`);
}

function judge(id: number, row: Row | null | undefined, how: string): void {
  const wrong = row ? problem(row) : 'is not there';
  if (wrong !== null) complain(`${how} of row ${id}: ${wrong}`);
}

async function read(id: number): Promise<void> {
  const floor = shared.version(id);
  const isMarking = marking.has(id);
  const token = shared.token(id);
  const { from, value, version } = await rows.getVersioned(id);
  judge(id, value, `a read from the ${from}`);
  // No mark of the row was on its way meanwhile: it has the last one.
  if (mark && token !== 0 && !isMarking && !marking.has(id) && shared.token(id) === token) {
    for (const [column, marked] of Object.entries(mark(token))) {
      if (value?.[column] !== marked) complain(`row ${id} has lost ${column} ${String(marked)}`);
    }
  }
  if (version < floor) complain(`a read of row ${id} from the ${from} is stale: ${version}, not ${floor}`);
}

function acknowledge(id: number, { value, version }: WriteResult<Row>, added: number): void {
  judge(id, value, 'the result of a write');
  shared.acknowledge(id, version, added);
}

const plusOne = (row: Row | undefined): Row => ({ ...row, count: Number(row?.['count']) + 1 });

/** One new release runs at a time, so that what it has last written to a column of its own is known. */
async function markRow(id: number, make: (token: number) => Row): Promise<void> {
  if (marking.has(id)) return;
  marking.add(id);
  try {
    const token = randomInt(random, 2, 1_000_000);
    acknowledge(id, await rows.patch(id, make(token)), 0);
    shared.mark(id, token);
  } finally {
    marking.delete(id);
  }
}

/** The control: what a cache that writes rows back whole does to a column that it does not know. */
async function resetPlan(id: number): Promise<void> {
  await knex.raw('UPDATE ?? SET plan = DEFAULT WHERE id = ?', [name, id]).catch(() => undefined);
}

async function call(): Promise<void> {
  const id = randomInt(random, 1, ROWS);
  const kind = randomChoice(random, ['get', 'get', 'get', 'increment', 'update', 'patch', 'mark'] as const);
  if (kind === 'get') return await read(id);
  if (kind === 'increment') return acknowledge(id, await rows.increment(id, 'count', 1), 1);
  if (kind === 'patch') return acknowledge(id, await rows.patch(id, { name: `by ${index}` }), 0);
  if (kind === 'mark') return mark && (await markRow(id, mark));
  if (control === 'whole-rows' && release === 'old') await resetPlan(id);
  acknowledge(id, await rows.update(id, plusOne, { retries: 100 }), 1);
}

async function work(): Promise<void> {
  while (!isStopped) {
    try {
      await call();
    } catch (error) {
      complain(`a call was refused: ${String(error)}`);
    }
    parentPort?.postMessage('called');
  }
}

parentPort?.once('message', () => {
  isStopped = true;
});
await Promise.all(Array.from({ length: LOOPS }, work));
await relay.stop();
await lockstep.close();
await knex.destroy();
parentPort?.postMessage({ problems });
