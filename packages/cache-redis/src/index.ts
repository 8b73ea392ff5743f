export { redisCache } from './cache.js';
export type { RedisCacheOptions } from './options.js';
