import {
  InvalidOptionError,
  type Lockstep,
  type QueueConsumer,
  type QueueJob,
  systemClock,
  type UnreadableJob,
} from '@lockstep/core';
import type { FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import { Auditor } from './audit/auditor.js';
import { bounded } from './bounded.js';
import { lockstepOf } from './config/lockstep.js';
import type { WorkerConfig } from './define.js';
import { GatheredLog } from './gathered-log.js';
import { Health, type WorkerStatus } from './health.js';
import { readAssets } from './http/assets.js';
import { dashboardServer } from './http/dashboard-server.js';
import { probeServer } from './http/probes.js';
import { workerLogger } from './log.js';
import { Metrics } from './metrics.js';
import { checkQueue } from './queue-check.js';
import { logReadiness } from './readiness-log.js';
import { Recorder } from './recorder.js';
import { workerSettings } from './settings.js';

export interface StartWorkerOptions extends WorkerConfig {
  /** @defaultValue JSON lines on standard output, by pino */
  readonly logger?: Logger;
}

/** A running worker. */
export interface Worker extends AsyncDisposable {
  /** The address of the dashboard. */
  readonly url: string;
  /** The address of probes and metrics. */
  readonly metricsUrl: string;
  status(): Promise<WorkerStatus>;
  /** Finishes what is under way, within `shutdownTimeoutMs`; closes the Lockstep when the worker made it. */
  close(): Promise<void>;
}

/**
 * Starts a worker in this process: the relay of all change feeds, the consumer of the queue, and two HTTP
 * servers. Any number of them may run side by side. Throws `InvalidOptionError`; rejects when the
 * queue's Redis may evict jobs, and when a port is taken, with nothing left running.
 */
export async function startWorker(options: StartWorkerOptions): Promise<Worker> {
  const { logger: given, ...config } = options;
  const settings = workerSettings(config);
  const logger = given ?? workerLogger('info');
  const made = typeof config.lockstep === 'function';
  const lockstep = await lockstepOf(config);
  const ends: (() => Promise<void>)[] = [];
  const end = async (): Promise<void> => {
    for (const step of ends.splice(0).reverse()) {
      try {
        await step();
      } catch (error) {
        logger.error({ err: error }, 'shutting down');
      }
    }
  };
  if (config.close !== undefined) ends.push(config.close);
  if (made) ends.push(() => lockstep.close());
  try {
    await checkQueue(lockstep, settings.allowQueueEviction, logger);
    const unsubscribes = logEvents(lockstep, logger);
    ends.push(async () => {
      for (const unsubscribe of unsubscribes) unsubscribe();
    });
    const relay = lockstep.startRelay(config.relay);
    const { perSecond } = settings.audit;
    const auditor = perSecond === 0 ? undefined : new Auditor({ lockstep, perSecond, logger });
    const health = new Health(lockstep, relay, settings.maxFeedLagMs, auditor);
    const recorder = new Recorder(lockstep.fleet, health);
    const metrics = new Metrics(lockstep, health, auditor, recorder);
    const {
      allowedHosts,
      bullBoard,
      bullBoardUrl,
      host,
      metricsHost,
      metricsPort,
      port,
      proxyUserHeader,
      token,
    } = settings;
    const dashboard = await dashboardServer(
      { lockstep, health, recorder, auditor, bullBoard, bullBoardUrl, assets: await readAssets() },
      { host, allowedHosts, logger, token, proxyUserHeader },
    );
    const probes = probeServer({ health, metrics }, { host: metricsHost, allowedHosts, logger });
    // The listeners answer until the rest has ended: whoever asks is told that the worker is shutting down.
    ends.push(async () => {
      await Promise.all([dashboard.close(), probes.close()]);
      metrics.close();
    });
    ends.push(() => relay.stop());
    const consumer = await consume(lockstep, settings.concurrency, logger, metrics);
    if (consumer !== undefined) ends.push(() => consumer.close());
    const url = await listening('port', dashboard, host, port);
    const metricsUrl = await listening('metricsPort', probes, metricsHost, metricsPort);
    recorder.start();
    ends.push(() => recorder.stop());
    if (auditor !== undefined) {
      auditor.start();
      const forget = lockstep.fleet.describe('consistency', () => auditor.status);
      ends.push(async () => {
        forget();
        await auditor.stop();
      });
    }
    const silence = logReadiness(health, logger);
    ends.push(async () => {
      silence();
      health.stopping();
    });
    const collections = lockstep.collections.map(({ name }) => name);
    logger.info({ url, metricsUrl, collections }, 'worker started');
    let closing: Promise<void> | undefined;
    const close = (): Promise<void> => {
      closing ??= bounded('shutdown', settings.shutdownTimeoutMs, end()).then(() =>
        logger.info('worker stopped'),
      );
      return closing;
    };
    return { url, metricsUrl, status: () => health.status(), close, [Symbol.asyncDispose]: close };
  } catch (error) {
    await bounded('shutdown', settings.shutdownTimeoutMs, end()).catch(() => undefined);
    throw error;
  }
}

async function listening(
  option: 'port' | 'metricsPort',
  server: FastifyInstance,
  host: string,
  port: number,
): Promise<string> {
  try {
    return await server.listen({ host, port });
  } catch (error) {
    if ((error as { readonly code?: unknown }).code !== 'EADDRINUSE') throw error;
    const problem = `${port} on ${host} is taken, by another worker perhaps: give another one; 0 takes any that is free`;
    throw new InvalidOptionError(`worker.${option}`, problem, { cause: error });
  }
}

async function consume(
  lockstep: Lockstep,
  concurrency: number,
  logger: Logger,
  metrics: Metrics,
): Promise<QueueConsumer | undefined> {
  const handle = async (job: QueueJob): Promise<void> => {
    await lockstep.handleJob(job);
    metrics.job('handled');
  };
  const onError = (error: unknown, job: QueueJob | UnreadableJob): void => {
    metrics.job('failed');
    // A write that the store refused is in the job, whole: values are not for logs.
    const { kind } = job;
    logger.warn(
      { err: error, job: kind === 'unreadable' ? { kind } : { kind, key: job.key } },
      'a job failed',
    );
  };
  return await lockstep.queue?.consume(handle, { concurrency, onError });
}

function logEvents(lockstep: Lockstep, logger: Logger): (() => void)[] {
  const failures = new GatheredLog(logger, () => systemClock.monotonic());
  return [
    lockstep.events.on('error', ({ where, error }) => failures.warn({ where, err: error }, 'failed')),
    lockstep.events.on('breaker', ({ cause, primary, state }) =>
      logger.warn({ state, cause, primary }, 'cache breaker'),
    ),
    lockstep.events.on('switch', (event) => logger.warn(event, 'the cache was switched off, or on again')),
    lockstep.events.on('cacheGeneration', ({ generation }) =>
      logger.warn({ generation }, 'the cache may have lost writes: replaying the feed'),
    ),
    lockstep.events.on('alteration', (event) =>
      logger.warn(event, 'a table was altered or detached: all that was cached of it is unreadable'),
    ),
    lockstep.events.on('flushRefused', ({ collection, error, key, version }) =>
      logger.error({ collection, key, version, err: error }, 'the store refused a buffered write for good'),
    ),
    lockstep.events.on('flush', ({ outcome, ...event }) => {
      if (outcome === 'superseded') logger.warn(event, 'a buffered write was superseded by a newer one');
    }),
    lockstep.events.on('relay', ({ sample: _, ...event }) => logger.debug(event, 'relayed')),
  ];
}
