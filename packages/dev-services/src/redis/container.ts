import { startContainer } from '../docker/container.js';
import { waitFor } from '../wait.js';
import { infoField, serverFlags, withRedis } from './node.js';
import type { RedisOptions } from './options.js';

/** Redis in a container: it answers, and can't be broken on demand. */
export async function redisContainer(
  options: RedisOptions,
): Promise<{ url: string; version: string; stop(): Promise<void> } | undefined> {
  const running = await startContainer({
    image: 'redis:8-alpine',
    port: 6379,
    command: ['redis-server', ...serverFlags(options)],
    startTimeoutMs: options.startTimeoutMs ?? 60_000,
  });
  if (running === undefined) return undefined;
  let version = 'unknown';
  await waitFor('the Redis container', 60_000, async () => {
    const info = await withRedis(running.port, (client) => client.info('server'), running.host);
    version = infoField(info, 'redis_version') ?? version;
    return true;
  });
  return { url: `redis://${running.host}:${running.port}`, version, stop: running.stop };
}
