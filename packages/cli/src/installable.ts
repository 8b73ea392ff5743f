import { type CollectionInfo, InvalidOptionError, type StoreInstallation } from '@lockstep/core';

export type Installable = CollectionInfo & { readonly installation: StoreInstallation };

/** Throws `InvalidOptionError` where a collection needs nothing in its database. */
export function installable(collections: readonly CollectionInfo[]): readonly Installable[] {
  return collections.map((collection) => {
    const { installation } = collection.store;
    if (installation !== undefined) return { ...collection, installation };
    throw new InvalidOptionError('collections', `"${collection.name}" has a store that needs no attach`);
  });
}
