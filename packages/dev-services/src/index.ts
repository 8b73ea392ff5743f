export type { DevServicesErrorCode } from './errors.js';
export { DevServicesError } from './errors.js';
export type { PostgresDatabase, PostgresOptions, PostgresService } from './postgres/start.js';
export { startPostgres } from './postgres/start.js';
export type { RedisServerOptions } from './redis/node.js';
export type { RedisOptions, RedisService } from './redis/standalone.js';
export { startRedis } from './redis/standalone.js';
export type {
  OwnedProcess,
  RestartOptions,
  Service,
  ServiceKind,
  ServiceOrigin,
  StartOptions,
} from './types.js';
