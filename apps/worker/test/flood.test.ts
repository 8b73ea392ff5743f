import { Agent, get } from 'node:http';
import { fileURLToPath } from 'node:url';
import { startRedis } from '@lockstep/dev-services';
import { expect, test } from 'vitest';
import { startCli } from './support/cli.js';
import { startShop } from './support/shop.js';
import { until } from './support/until.js';

const CONFIG = fileURLToPath(new URL('./support/flooded.config.ts', import.meta.url));
const CONCURRENT = 500;

interface Flood extends AsyncDisposable {
  readonly answers: number;
}

/** So many clients, each of which asks again as soon as it is answered, until they are disposed of. */
function flood(urls: readonly string[]): Flood {
  const agent = new Agent({ keepAlive: true, maxSockets: CONCURRENT });
  let answers = 0;
  let over = false;
  const ask = (url: string): Promise<void> =>
    new Promise((resolve) => {
      const request = get(url, { agent }, (response) => {
        answers += 1;
        response.resume().once('close', resolve);
      });
      // A connection that has served its number of requests is closed.
      request.on('error', () => resolve());
    });
  const clients = Array.from({ length: CONCURRENT }, async (_, i) => {
    for (let k = i; !over; k++) await ask(urls[k % urls.length] as string);
  });
  return {
    get answers() {
      return answers;
    },
    async [Symbol.asyncDispose]() {
      over = true;
      agent.destroy();
      await Promise.all(clients);
    },
  };
}

function median(numbers: readonly number[]): number {
  return [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)] as number;
}

test('probes, metrics and dashboard, flooded: changes go on reaching the cache; work for each request would be seen', async () => {
  await using shop = await startShop(1);
  const redis = await startRedis();
  try {
    await using cli = startCli(['--config', CONFIG], {
      TEST_POSTGRES_URL: shop.url,
      TEST_REDIS_URL: redis.url,
      TEST_PREFIX: 'flood',
      LOCKSTEP_LOG_LEVEL: 'debug',
    });
    const [url, probes] = [await cli.url(), await cli.metricsUrl()];
    const control = cli.lines().find(({ msg }) => msg === 'control')?.url ?? '';
    const lags = (): number[] =>
      cli
        .lines()
        .filter((line) => line.msg === 'relayed' && (line as { changes?: number }).changes !== 0)
        .map((line) => (line as unknown as { lagMs: number }).lagMs);
    const turn = async (changes: number): Promise<readonly number[]> => {
      const before = lags().length;
      for (let i = 1; i <= changes; i++) {
        await shop.knex.raw("UPDATE public.products SET name = name || '.' WHERE id = 1");
        await until('it is relayed', () => lags().length >= before + i, 60_000);
      }
      return lags().slice(before);
    };
    const flooded = async (urls: readonly string[], changes: number): Promise<readonly number[]> => {
      await using clients = flood(urls);
      // All are connected, and have asked again.
      await until('it is flooded', () => clients.answers > 2 * CONCURRENT, 60_000);
      return await turn(changes);
    };
    const paths = [
      '/',
      '/page/main.js',
      '/api/status',
      '/api/overview',
      '/api/consistency',
      '/api/dead-letters',
    ];
    const real = [
      ...['/health/live', '/health/ready', '/metrics'].map((path) => probes + path),
      ...paths.map((path) => url + path),
    ];
    const own = median(await flooded(real, 5));
    const worked = median(await flooded([control], 2));
    expect(own).toBeLessThan(worked / 2);
  } finally {
    await redis.stop();
  }
});
