import { type MongoStore, mongoStore } from '@lockstep/store-mongo';
import { type ClientSession, type Collection, MongoClient } from 'mongodb';
import { COLLECTION, REVIEWS } from '../naming.js';
import type { Product, ProductChange } from '../products.js';
import {
  mongoWindow,
  type ProductDocument,
  productRow,
  type ReviewDocument,
  STAMP,
  VERSION_FIELD,
  versionOf,
} from './mongo-window.js';
import type { ForeignWrite, PlainStore, ShopStore, ShopWindow, StoreNames } from './store.js';

const SEED_BATCH = 1_000;
const TIMEOUT_MS = 10_000;
/** How long a foreign write may take to be adopted before nobody waits for it any more, in ms. */
const ADOPTION_MS = 60_000;
const LOOK_MS = 20;

/** The shop on MongoDB. */
export class MongoShopStore implements ShopStore {
  readonly names: StoreNames = {
    table: COLLECTION,
    keyColumn: '_id',
    versionColumn: VERSION_FIELD,
    // Numbers are told from strings in the cache's keys.
    keyStart: '~',
  };
  readonly adapter: ShopStore['adapter'];
  readonly window: ShopWindow;
  readonly plain: PlainStore;
  readonly #client: MongoClient;
  readonly #store: MongoStore;
  readonly #collection: ReturnType<MongoStore['collection']>;
  readonly #reviews: ReturnType<MongoStore['collection']>;
  readonly #documents: Collection<ProductDocument>;

  constructor(url: string) {
    this.#client = new MongoClient(url, { serverSelectionTimeoutMS: TIMEOUT_MS, maxPoolSize: 20 });
    const db = this.#client.db();
    this.#documents = db.collection<ProductDocument>(COLLECTION);
    this.#store = mongoStore({ client: this.#client, db });
    const bound = this.#store.collection<ProductDocument, number>(COLLECTION);
    this.#collection = bound as unknown as ReturnType<MongoStore['collection']>;
    this.adapter = bound as unknown as ShopStore['adapter'];
    const reviews = this.#store.collection<ReviewDocument, number>(REVIEWS);
    this.#reviews = reviews as unknown as ReturnType<MongoStore['collection']>;
    this.window = mongoWindow(
      this.#documents,
      db.collection(REVIEWS),
      reviews as unknown as ShopWindow['adapter'],
    );
    this.plain = plainStore(this.#documents);
  }

  productOf({ id, name, category, price, stock, description }: Product): Product {
    return { id, name, category, price, stock, description };
  }

  async updateIn(tx: unknown, id: number, change: ProductChange): Promise<boolean> {
    // The adapter's transactions are the driver's sessions.
    const session = tx as ClientSession;
    const { matchedCount } = await this.#documents.updateOne({ _id: id }, { $set: change }, { session });
    return matchedCount > 0;
  }

  async foreignUpdate(id: number, change: ProductChange): Promise<ForeignWrite | undefined> {
    const before = await this.#documents.findOneAndUpdate({ _id: id }, { $set: change });
    if (before === null) return undefined;
    const old = versionOf(before);
    return { version: () => this.#adopted(id, old) };
  }

  async prepare(products: readonly Product[]): Promise<void> {
    await this.#documents.drop();
    await this.#documents.createIndex({ category: 1, price: 1, id: 1 });
    await this.#client.db().collection(REVIEWS).drop();
    await this.#client.db().collection(REVIEWS).createIndex({ product: 1 });
    for (let from = 0; from < products.length; from += SEED_BATCH) {
      const batch = products.slice(from, from + SEED_BATCH);
      await this.#documents.insertMany(batch.map((product) => ({ _id: product.id, ...product })));
    }
    await this.#store.attach(this.#collection);
    await this.#store.attach(this.#reviews);
  }

  async serverVersion(): Promise<string> {
    const { version } = await this.#client.db().admin().serverInfo();
    return `MongoDB ${String(version)}`;
  }

  feedStatus(): ReturnType<ShopStore['feedStatus']> {
    return this.#store.feed.status([this.#collection.source, this.#reviews.source]);
  }

  async close(): Promise<void> {
    await this.#store.close();
    await this.#client.close();
  }

  /** A foreign write has no version before the feed's reader has given it one. */
  async #adopted(id: number, old: number): Promise<number | undefined> {
    const deadline = performance.now() + ADOPTION_MS;
    while (performance.now() < deadline) {
      const document = await this.#documents.findOne({ _id: id });
      if (document === null) return undefined;
      const version = versionOf(document);
      if (version > old) return version;
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
    return undefined;
  }
}

function plainStore(documents: Collection<ProductDocument>): PlainStore {
  const after = { returnDocument: 'after' } as const;
  const rowOf = (document: ProductDocument | null) => (document === null ? undefined : productRow(document));
  return {
    async read(ids) {
      const rows = await documents.find({ _id: { $in: [...ids] } }).toArray();
      const found = new Map(rows.map((document) => [document._id, productRow(document)]));
      return ids.map((id) => found.get(id));
    },
    async upsert(product) {
      const fields = Object.fromEntries(
        Object.entries(product).map(([field, value]) => [field, { $literal: value }]),
      );
      const pipeline = [{ $set: { ...fields, ...STAMP } }];
      const document = await documents.findOneAndUpdate({ _id: product.id }, pipeline, {
        ...after,
        upsert: true,
      });
      if (document === null) throw new Error(`product ${product.id} was not stored`);
      return productRow(document);
    },
    async update(id, change) {
      const fields = Object.fromEntries(
        Object.entries(change).map(([field, value]) => [field, { $literal: value }]),
      );
      return rowOf(await documents.findOneAndUpdate({ _id: id }, [{ $set: { ...fields, ...STAMP } }], after));
    },
    async addStock(id, by) {
      const stock = { $add: ['$stock', by] };
      return rowOf(await documents.findOneAndUpdate({ _id: id }, [{ $set: { stock, ...STAMP } }], after));
    },
    async remove(id) {
      const document = await documents.findOneAndDelete({ _id: id });
      return document === null ? undefined : versionOf(document);
    },
  };
}
