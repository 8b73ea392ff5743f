export type { DevServicesErrorCode } from './errors.js';
export { DevServicesError } from './errors.js';
export { type TemporaryFolder, temporaryFolder } from './folders.js';
export type { ReplicaSetOptions } from './mongo/replica-set.js';
export type { MongoDatabase, MongoOptions, MongoService } from './mongo/start.js';
export { startMongo } from './mongo/start.js';
export type { PostgresDatabase, PostgresOptions, PostgresService } from './postgres/start.js';
export { startPostgres } from './postgres/start.js';
export type { ProxyDirection, ProxyOptions, TcpProxy } from './proxy/proxy.js';
export { startProxy } from './proxy/proxy.js';
export type { RedisClusterOptions, RedisClusterService } from './redis/cluster.js';
export { startRedisCluster } from './redis/cluster.js';
export type { RedisServerOptions } from './redis/node.js';
export type { RedisOptions } from './redis/options.js';
export type {
  RedisAddress,
  RedisNode,
  RedisSentinelOptions,
  RedisSentinelService,
} from './redis/sentinel.js';
export { startRedisSentinel } from './redis/sentinel.js';
export type { RedisService } from './redis/standalone.js';
export { startRedis } from './redis/standalone.js';
export type {
  OwnedProcess,
  RestartOptions,
  Service,
  ServiceKind,
  ServiceOrigin,
  StartOptions,
} from './types.js';
