import { InvalidOptionError, type LockstepError, UnsupportedError } from '@lockstep/core';
import { type Db, type Document, MongoServerError } from 'mongodb';
import type { Binding } from '../rows/binding.js';
import { answered } from '../wire/answered.js';
import { CODE } from '../wire/errors.js';

const TIME = { maxTimeMS: 5_000 } as const;

/**
 * What is to be said of a collection of a sharded cluster: nobody tests those. Throws `InvalidOptionError` where its
 * shard key is another than the key of its rows.
 */
export async function checkSharding({ client, databaseName }: Db, binding: Binding): Promise<LockstepError> {
  const { source } = binding;
  const untested = `mongodb:${databaseName}: sharded clusters are not tested`;
  try {
    const found = client.db('config').collection<Document & { _id: string }>('collections');
    const sharded = await answered(source, found.findOne({ _id: source }, TIME), TIME);
    if (sharded !== null) assertShardKey(sharded, binding);
  } catch (error) {
    if (!(error instanceof MongoServerError) || error.code !== CODE.unauthorized) throw error;
    const grant = `grant it (role "read" on the database config)`;
    return new UnsupportedError(
      `${untested}, and this user may not read config.collections, which says how ${source} is sharded: ${grant}, or make sure that its shard key is "${binding.keyField}" alone`,
    );
  }
  return new UnsupportedError(`${untested}: ${source} may work, since rows are found by their shard key`);
}

/** Throws `InvalidOptionError`. @param sharded the collection's document in `config.collections` */
export function assertShardKey(
  sharded: Document,
  { keyField, source, primary }: Pick<Binding, 'keyField' | 'source' | 'primary'>,
): void {
  // One that is on a single shard, and tracked all the same.
  if (sharded['unsplittable'] === true || sharded['dropped'] === true) return;
  const key = sharded['key'] as Document;
  const fields = Object.keys(key);
  if (fields.length === 1 && fields[0] === keyField) return;
  const shown = fields.map((field) => `${field}: ${JSON.stringify(key[field])}`).join(', ');
  throw new InvalidOptionError(
    `collection("${primary.collectionName}").key`,
    `${source} is sharded by { ${shown} }, and Lockstep finds and inserts rows by "${keyField}" alone, which two shards may then hold twice: sh.reshardCollection("${source}", { ${keyField}: 1 }), or bind it by its shard key`,
  );
}
