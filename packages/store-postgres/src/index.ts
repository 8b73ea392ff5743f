export type { AttachOptions } from './attach/options.js';
export type { FeedOptions } from './feed/options.js';
export {
  type Attachable,
  type PostgresMigration,
  PostgresStore,
  type PostgresStoreOptions,
  type PostgresTableOptions,
  postgresStore,
  type RepairReport,
} from './store.js';
export { PostgresTable } from './table/table.js';
