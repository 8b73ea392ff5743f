import {
  type ChangeStream,
  type Db,
  type Document,
  MongoError,
  MongoServerError,
  type ResumeToken,
} from 'mongodb';
import type { Binding } from '../rows/binding.js';
import { answered } from '../wire/answered.js';
import { CODE } from '../wire/errors.js';

/** Server errors that mean: what follows this token is not to be had any more. */
const LOST = new Set<number>([
  CODE.changeStreamHistoryLost,
  CODE.changeStreamFatal,
  CODE.invalidResumeToken,
  CODE.cappedPositionLost,
  CODE.failedToParse,
  CODE.emptyToken,
  CODE.malformedToken,
]);

export function isHistoryLost(error: unknown): boolean {
  if (error instanceof MongoServerError && typeof error.code === 'number' && LOST.has(error.code))
    return true;
  return error instanceof MongoError && error.hasErrorLabel('NonResumableChangeStreamError');
}

/**
 * A change stream on the database: the given collections and the tombstones, each event cut down to
 * what the feed looks at.
 */
export function openStream(
  db: Db,
  bindings: readonly Binding[],
  tombstones: string,
  declared: readonly string[],
  token: ResumeToken | undefined,
  maxAwaitTimeMS: number,
): ChangeStream<Document, Document> {
  const names = bindings.map(({ primary }) => primary.collectionName);
  const fields = new Set([
    'v',
    ...bindings.flatMap(({ keyField, versionField }) => [keyField, versionField]),
    ...declared,
  ]);
  const cut = (state: string): Document =>
    Object.fromEntries([...fields].map((field) => [`${state}.${field}`, 1]));
  const pipeline: Document[] = [
    {
      $match: {
        $or: [
          { 'ns.coll': { $in: names } },
          { 'to.coll': { $in: names } },
          { 'ns.coll': tombstones, 'documentKey._id.s': { $in: bindings.map(({ source }) => source) } },
          { operationType: { $in: ['dropDatabase', 'invalidate'] } },
        ],
      },
    },
    {
      $project: {
        operationType: 1,
        ns: 1,
        to: 1,
        documentKey: 1,
        updateDescription: 1,
        clusterTime: 1,
        wallTime: 1,
        lsid: 1,
        txnNumber: 1,
        ...cut('fullDocument'),
        ...cut('fullDocumentBeforeChange'),
      },
    },
  ];
  return db.watch<Document, Document>(pipeline, {
    readPreference: 'primaryPreferred',
    fullDocumentBeforeChange: 'whenAvailable',
    maxAwaitTimeMS,
    // Text that is none fails its own event (no row has such a key), not the stream.
    enableUtf8Validation: false,
    ...(token === undefined ? {} : { startAfter: token }),
  });
}

const TOKEN = { maxTimeMS: 5_000 };

/** A token for "from now on". */
export async function tokenOfNow(db: Db): Promise<ResumeToken> {
  const stream = db.watch([], { maxAwaitTimeMS: 1 });
  try {
    await answered(`mongodb:${db.databaseName}: a token of now`, stream.tryNext(), TOKEN);
    return stream.resumeToken;
  } finally {
    // Closing waits for a read that hangs; the server ends the cursor by itself.
    stream.close().catch(() => {});
  }
}
