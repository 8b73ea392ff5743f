/**
 * Writes per second, lone and batched, beside a plain `updateOne` with upsert. Not part of CI.
 * Run: `pnpm exec tsc -b && node bench/writes.ts`
 */
import { startMongo } from '@lockstep/dev-services';
import { BSON, Decimal128, type Document, MongoClient, ObjectId } from 'mongodb';
import { bsonSerializer, mongoStore } from '../dist/index.js';

const ROWS = 2_000;
const TURNS = 5;
const CALL = { timeoutMs: 30_000 } as const;

await using service = await startMongo();
const client = new MongoClient(service.url);
const db = client.db(service.databaseName);
const mongo = mongoStore({ client, db });
const ours = mongo.collection<Document, string>('ours');
await mongo.attach([ours]);
await ours.open();
const theirs = db.collection<{ _id: string }>('theirs', { writeConcern: { w: 'majority' } });

const row = (n: number): { _id: string } & Document => ({
  _id: `product-${n % ROWS}`,
  name: `Product ${n}`,
  text: 'x'.repeat(400),
  price: Decimal128.fromString('12.34'),
  at: new Date(),
  owner: new ObjectId(),
  stock: n,
});
const put = (n: number) => ({ kind: 'put' as const, key: `product-${n % ROWS}`, value: row(n), above: 0 });

async function ourPuts(from: number, count: number): Promise<void> {
  const commands = Array.from({ length: count }, (_, n) => put(from + n));
  for (const outcome of await ours.write(commands, CALL)) {
    if (outcome.kind !== 'written') throw new Error(outcome.kind);
  }
}

const plain = (n: number): Promise<unknown> => {
  const { _id, ...fields } = row(n);
  return theirs.updateOne({ _id }, { $set: fields }, { upsert: true });
};

async function rate(writes: number, work: () => Promise<void>): Promise<number> {
  const startedMs = performance.now();
  await work();
  return (writes / (performance.now() - startedMs)) * 1000;
}

async function loop(writes: number, write: (n: number) => Promise<unknown>): Promise<void> {
  for (let n = 0; n < writes; n += 1) await write(n);
}

const median = (values: number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;

const cases: Record<string, () => Promise<number>> = {
  'plain updateOne upsert, one at a time': () => rate(400, () => loop(400, plain)),
  'ours, one at a time': () => rate(400, () => loop(400, (n) => ourPuts(n, 1))),
  'plain updateOne upsert, 256 at once': () =>
    rate(2_560, () =>
      loop(
        10,
        async (n) => void (await Promise.all(Array.from({ length: 256 }, (_, at) => plain(n * 256 + at)))),
      ),
    ),
  'ours, batches of 256': () => rate(2_560, () => loop(10, (n) => ourPuts(n * 256, 256))),
  'ours, deletions, one at a time': () =>
    rate(100, () => loop(100, (n) => ours.write([{ kind: 'delete', key: `product-${n}`, above: 0 }], CALL))),
};

for (let n = 0; n < ROWS; n += 250) await ourPuts(n, 250);
await loop(ROWS, plain);
for (const [name, run] of Object.entries(cases)) {
  const rates: number[] = [];
  for (let turn = 0; turn < TURNS; turn += 1) {
    rates.push(await run());
    if (name.includes('deletions')) await ourPuts(0, 250);
  }
  console.log(`${name}: ${Math.round(median(rates))} writes/s`);
}

const value = row(1);
const bson = bsonSerializer();
const ejson = {
  serialize: (it: unknown) => BSON.EJSON.stringify(it, { relaxed: false }),
  deserialize: (it: string) => BSON.EJSON.parse(it, { relaxed: false }) as unknown,
};
const payload = bson.serialize(value);
const text = ejson.serialize(value);
console.log(
  'bson round trips/s',
  Math.round(await rate(20_000, () => loop(20_000, async () => bson.deserialize(bson.serialize(value))))),
  'bytes',
  payload.length,
);
console.log(
  'ejson round trips/s',
  Math.round(await rate(20_000, () => loop(20_000, async () => ejson.deserialize(ejson.serialize(value))))),
  'bytes',
  text.length,
);

await mongo.close();
await client.close();
