import type { StartOptions } from '../types.js';
import type { RedisServerOptions } from './node.js';

/** Any server option needs a server of one's own: `REDIS_URL` is passed over then. */
export interface RedisOptions extends StartOptions, RedisServerOptions {
  /**
   * `true` passes `REDIS_URL` over, so that `process` is there.
   *
   * @defaultValue false
   */
  readonly owned?: boolean | undefined;
}
