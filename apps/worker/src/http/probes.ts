import type { FastifyInstance } from 'fastify';
import type { Health } from '../health.js';
import type { Metrics } from '../metrics.js';
import { type ListenerOptions, listener } from './listener.js';

export interface ProbeParts {
  readonly health: Health;
  readonly metrics: Metrics;
}

/** The routes of orchestrators and Prometheus: they tell no values, and change nothing. */
export function probeServer({ health, metrics }: ProbeParts, options: ListenerOptions): FastifyInstance {
  const server = listener(options);
  server.get('/health/live', async () => ({ live: true }));
  server.get('/health/ready', async (_, reply) => {
    const { problems, ready } = await health.status();
    return reply.code(ready ? 200 : 503).send({ ready, problems });
  });
  server.get('/metrics', async (_, reply) => reply.type(metrics.contentType).send(await metrics.text()));
  return server;
}
