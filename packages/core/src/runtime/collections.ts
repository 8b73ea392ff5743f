import type { CollectionEngine } from '../collection/collection.js';
import type { CollectionInfo } from '../contracts/api.js';
import type { ChangeFeed } from '../contracts/feed.js';
import type { TransactionHost } from '../contracts/store.js';
import type { ViewInfo } from '../contracts/views.js';
import {
  DuplicateCollectionError,
  InvalidOptionError,
  SerializationError,
  UnsupportedError,
} from '../errors.js';
import { keyPrefixOf } from '../protocol/key.js';
import { WHATEVER_ENDED } from '../values/tag-heads.js';
import type { CollectionTags } from '../views/tags.js';
import type { TransactionParticipant } from '../write/transaction.js';

type AnyCollection = CollectionEngine<unknown, never, never>;

/** The collections of one Lockstep, and what follows from them. */
export class Collections {
  readonly #byName = new Map<string, AnyCollection>();
  readonly #views = new Map<string, ViewInfo>();
  /** By the start of the keys of their tags. */
  readonly #tags = new Map<string, CollectionTags>();

  /** Throws `DuplicateCollectionError`. */
  checkFree(name: string): void {
    const isView = this.#views.has(name);
    if (!isView && !this.#byName.has(name)) return;
    const what = isView ? 'view' : 'collection';
    throw new DuplicateCollectionError(`there already is a ${what} "${name}"`, { collection: name });
  }

  /** A view, whose name no collection may have. */
  addView(view: ViewInfo): void {
    this.#views.set(view.name, view);
  }

  get views(): readonly ViewInfo[] {
    return [...this.#views.values()];
  }

  add<Value, Id, Tx>(collection: CollectionEngine<Value, Id, Tx>): void {
    this.#byName.set(collection.settings.name, collection as unknown as AnyCollection);
    if (collection.tags !== undefined) this.#tags.set(collection.tags.keyPrefix, collection.tags);
  }

  /** True where the store does not keep the rows of any of these tags in step. */
  anySuspended(tagKeys: readonly string[]): boolean {
    return tagKeys.some((key) => this.#tags.get(keyPrefixOf(key))?.member.suspended === true);
  }

  [Symbol.iterator](): Iterator<AnyCollection> {
    return this.#byName.values();
  }

  infos(): CollectionInfo[] {
    return [...this].map(
      ({ calls, codec, keyPrefix, opening, settings: { name }, store, writes: { buffer } }) => {
        const decode: CollectionInfo['decode'] = async ({ payload, version }, key) => {
          const hit = { payload, version, staleAtMs: 0 };
          const first = await codec.decode(hit, key, WHATEVER_ENDED);
          if (first.ok) return first.value;
          // The shape of the rows is not known before the store is open, nor while a statement's answer has put it in doubt.
          await opening.open();
          await store.shape?.renew();
          const decoded = await codec.decode(hit, key, WHATEVER_ENDED);
          if (decoded.ok) return decoded.value;
          const message = `collection "${name}", key "${key}": the entry can't be read: ${decoded.reason}`;
          throw new SerializationError(message, { collection: name, key });
        };
        const seen = async (row: unknown): Promise<unknown> =>
          codec.hasSchema ? await codec.seen(row) : row;
        const unflushed = buffer && (() => buffer.size());
        const open = (): Promise<void> => opening.open();
        const { serializer } = codec;
        const info = { name, open, store, keyPrefix, serializer, decode, seen, unflushed };
        return { ...info, calls: calls as unknown as CollectionInfo['calls'] };
      },
    );
  }

  /** The sources of each feed. */
  feeds(): Map<ChangeFeed, Set<string>> {
    const feeds = new Map<ChangeFeed, Set<string>>();
    for (const { store } of this) {
      if (store.feed === undefined) continue;
      feeds.set(store.feed, (feeds.get(store.feed) ?? new Set()).add(store.source));
    }
    return feeds;
  }

  /** The one database of all collections. */
  onlyHost(): TransactionHost {
    const hosts = new Set([...this].flatMap(({ store }) => store.transactions ?? []));
    const [host, second] = hosts;
    if (host === undefined) {
      throw new UnsupportedError('transaction: no collection has a store with transactions');
    }
    if (second !== undefined) {
      throw new InvalidOptionError(
        'transaction.on',
        'must say which where collections live in several databases: transaction(body, { on: postgres })',
      );
    }
    return host;
  }

  /**
   * Opens those of a database that are not open yet; `undefined`: all are. Does not reject: their own calls say why they
   * can't be used.
   */
  open(host: TransactionHost): Promise<unknown> | undefined {
    let opened: Promise<unknown>[] | undefined;
    for (const { opening, store } of this) {
      if (opening.opened || store.transactions !== host) continue;
      opened ??= [];
      opened.push(opening.open().catch(() => undefined));
    }
    return opened && Promise.all(opened);
  }

  /** Who takes part in a transaction. */
  participants(host: TransactionHost): TransactionParticipant[] {
    const ofHost = [...this].filter(({ store }) => store.transactions === host);
    return ofHost.map(({ writes }) => writes.inside);
  }
}
