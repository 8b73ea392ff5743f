import { storeConformance } from '@lockstep/conformance';
import { type ClientSession, type Document, Double, Int32, Long, ObjectId } from 'mongodb';
import { describe, test } from 'vitest';
import { testServer } from './support/server.js';

const server = testServer();

/** The collections that the kit runs on: what differs is the key. */
const COLLECTIONS = [
  {
    title: 'ObjectIds',
    name: 'products',
    key: '_id',
    id: (n: number): unknown => new ObjectId(n.toString(16).padStart(24, 'a')),
    badIds: [undefined, [], /x/, { $oid: 'x' }, Symbol('s'), '\ud800', new Date(Number.NaN), 2n ** 64n],
    sameRow: [
      [new Int32(7), Long.fromNumber(7)],
      [new Double(7), 7n],
      [
        { a: 1, b: [2] },
        { a: Long.fromNumber(1), b: [new Double(2)] },
      ],
    ],
  },
  {
    title: 'nested documents',
    name: 'stock items',
    key: '_id',
    id: (n: number): unknown => ({ tenant: 'a:b', n: { is: n } }),
    badIds: [undefined, [1], { a: undefined }, { 1: 1, b: 2 }],
    sameRow: [[{ n: 1 }, { n: 1n }]],
  },
  {
    title: 'tags, whose values each change tells',
    name: 'tagged',
    key: '_id',
    tags: [['name'], ['name', 'stock']],
    id: (n: number): unknown => n,
    badIds: [undefined],
    sameRow: [[5, 5n]],
  },
  {
    title: 'another unique field',
    name: 'users',
    key: 'email',
    id: (n: number): unknown => `~${n}@example.org`,
    badIds: [undefined, [], 'x'.repeat(1025)],
    sameRow: [[5, 5n]],
  },
] as const;

for (const each of COLLECTIONS) {
  let ready: Promise<void> | undefined;

  const setUp = async (): Promise<void> => {
    const store = await server.store();
    const db = (await server.client()).db(server.service.databaseName);
    await db.createCollection(each.name, { validator: { stock: { $gte: 0 } } });
    if (each.key !== '_id') await db.collection(each.name).createIndex({ [each.key]: 1 }, { unique: true });
    await store.attach(
      [store.collection(each.name, { key: each.key })],
      'tags' in each ? { unique: ['_id'], tags: each.tags } : {},
    );
  };

  storeConformance<Document, unknown>({
    describe,
    test,
    name: `store conformance: ${each.title}`,
    hooks: [
      ...(['second', 'refusedValue', 'badIds', 'sameRow', 'foreignWrite', 'writeInTransaction'] as const),
      ...(each.key === '_id' ? (['newValue'] as const) : []),
      ...('tags' in each ? (['declared'] as const) : []),
    ],
    async create() {
      ready ??= setUp();
      await ready;
      const open = async () => {
        const client = await server.client();
        const store = await server.store({ client, feed: { leaseMs: 600 } });
        const binding = store.collection<Document, unknown>(each.name, { key: each.key });
        await binding.open();
        return { client, store, binding };
      };
      const first = await open();
      const second = await open();
      const foreign = first.client.db(server.service.databaseName).collection(each.name);
      const value = (id: unknown, n: number): Document => ({
        [each.key]: id,
        name: `$name ${n}`,
        'a.b': { $x: n },
        stock: n,
      });
      const write = async (id: unknown, row: Document | null, session?: ClientSession): Promise<void> => {
        const options = session === undefined ? {} : { session };
        const filter = { [each.key]: id } as Document;
        if (row === null) await foreign.deleteOne(filter, options);
        else await foreign.replaceOne(filter, row, { ...options, upsert: true });
      };
      return {
        store: first.binding,
        second: second.binding,
        id: each.id,
        value,
        counter: 'stock',
        refusedValue: (id) => value(id, -1),
        ...(each.key === '_id' && {
          newValue: (n: number): Document => ({ name: `$new ${n}`, 'a.b': { $x: n }, stock: n }),
        }),
        badIds: each.badIds,
        sameRow: each.sameRow,
        ...('tags' in each && { declared: { unique: [['_id']], tags: each.tags } }),
        foreignWrite: (id, row) => write(id, row),
        // The driver does not tell of a user's statements: reading the row in the transaction notes it.
        writeInTransaction: async (session, id, row) => {
          await write(id, row, session as ClientSession);
          await first.store.noteChanges(session as ClientSession, first.binding, [id]);
        },
        async dispose() {
          await first.store.close();
          await second.store.close();
        },
      };
    },
  });
}
