import { InvalidOptionError } from '@lockstep/core';
import { type Db, type Document, MongoServerError } from 'mongodb';
import { answered } from '../wire/answered.js';
import { CODE } from '../wire/errors.js';
import type { Installation } from './installation.js';

/** Actions on one collection; on all of the database where none is named. */
export interface Need {
  readonly collection?: string;
  readonly actions: readonly string[];
}

const USE = ['find', 'insert', 'update', 'remove', 'listIndexes'];
const KEEP = ['find', 'insert', 'update', 'remove'];

/** What an application does, or its worker. */
export function needsOfUse(
  { consumers, feed, replicated, sources, tombstones }: Installation,
  name: string,
): Need[] {
  return [
    { actions: replicated ? ['listCollections', 'find', 'changeStream'] : ['listCollections'] },
    { collection: name, actions: USE },
    { collection: tombstones, actions: USE },
    ...(replicated ? [feed, consumers] : []).map((collection) => ({ collection, actions: KEEP })),
    { collection: sources, actions: ['find', 'update'] },
  ];
}

/** What `attach` does beside that. */
export function needsOfAttach(installation: Installation, name: string, images: boolean): Need[] {
  const { consumers, feed, replicated, sources, tombstones } = installation;
  const made = [name, tombstones, ...(replicated ? [feed, consumers] : [])];
  return [
    ...needsOfUse(installation, name),
    ...made.map((collection) => ({ collection, actions: ['createCollection', 'createIndex'] })),
    { collection: sources, actions: ['insert', 'remove'] },
    ...(images ? [{ collection: name, actions: ['collMod'] }] : []),
  ];
}

/** The built-in role that has the rights but this one; and the one that has it. */
const ADMIN_ACTION = 'collMod';

/** A privilege as the server tells it. */
interface Privilege {
  readonly resource: {
    readonly db?: string;
    readonly collection?: string;
    readonly anyResource?: boolean;
  };
  readonly actions: readonly string[];
}

const TIME = { maxTimeMS: 5_000 } as const;

/**
 * Throws `InvalidOptionError` where the connection's user lacks rights, by name, with the command that grants them.
 * A server that does not check rights refuses nothing, whoever its users are.
 */
export async function checkRights(db: Db, needs: readonly Need[]): Promise<void> {
  const command = { connectionStatus: 1, showPrivileges: true };
  const status = await answered(`mongodb:${db.databaseName}: rights`, db.command(command), TIME);
  const { authenticatedUsers: users = [], authenticatedUserPrivileges: privileges = [] } = status[
    'authInfo'
  ] as { authenticatedUsers?: Document[]; authenticatedUserPrivileges?: Privilege[] };
  const [user] = users;
  // Nobody has logged in: the server asks nobody to, or refuses what comes next.
  if (user === undefined) return;
  const missing = needs.flatMap((need) => {
    const actions = need.actions.filter((action) => !allows(privileges, db.databaseName, need, action));
    return actions.length === 0 ? [] : [{ ...need, actions }];
  });
  if (missing.length === 0 || !(await refuses(db, privileges))) return;
  const texts = missing.map(({ actions, collection }) => {
    const on =
      collection === undefined ? `the database ${db.databaseName}` : `${db.databaseName}.${collection}`;
    return `${actions.join(', ')} on ${on}`;
  });
  const all = missing.flatMap(({ actions }) => actions);
  const roles = [
    ...(all.some((action) => action !== ADMIN_ACTION) ? ['readWrite'] : []),
    ...(all.includes(ADMIN_ACTION) ? ['dbAdmin'] : []),
  ].map((role) => `{ role: "${role}", db: "${db.databaseName}" }`);
  const grant = `db.getSiblingDB("${user['db']}").grantRolesToUser("${user['user']}", [${roles.join(', ')}])`;
  throw new InvalidOptionError(
    'mongoStore.client',
    `the user "${user['user']}" of "${user['db']}" lacks ${texts.join('; ')}: grant them, or ${grant}`,
  );
}

function allows(
  privileges: readonly Privilege[],
  database: string,
  { collection = '' }: Need,
  action: string,
): boolean {
  return privileges.some(({ actions, resource }) => {
    if (!actions.includes(action)) return false;
    if (resource.anyResource === true) return true;
    if (resource.db === undefined || resource.collection === undefined) return false;
    const ofDatabase = resource.db === '' || resource.db === database;
    return ofDatabase && (resource.collection === '' || resource.collection === collection);
  });
}

/** Harmless questions about the server, each a right of its own. */
const PROBES = ['hostInfo', 'getCmdLineOpts'] as const;

/** True where the server checks rights: it refuses what the user has no right to. */
async function refuses({ client, databaseName }: Db, privileges: readonly Privilege[]): Promise<boolean> {
  const probe = PROBES.find((action) => !privileges.some(({ actions }) => actions.includes(action)));
  if (probe === undefined) return true;
  try {
    await answered(`mongodb:${databaseName}: rights`, client.db('admin').command({ [probe]: 1 }), TIME);
    return false;
  } catch (error) {
    return error instanceof MongoServerError && error.code === CODE.unauthorized;
  }
}
