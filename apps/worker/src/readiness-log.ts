import { systemClock } from '@lockstep/core';
import type { Logger } from 'pino';
import type { Health } from './health.js';

const PERIOD_MS = 5_000;

/** Says in the log what keeps the worker from being ready, when that begins, changes and ends. Returns what stops it. */
export function logReadiness(health: Pick<Health, 'status'>, logger: Logger): () => void {
  let told = '';
  let cancel = (): void => undefined;
  let isOver = false;
  const look = async (): Promise<void> => {
    const { problems } = await health.status();
    // Numbers change with each look: how old the oldest change is.
    const now = problems.map((problem) => problem.replaceAll(/\d+/g, '#')).join('\n');
    if (isOver || now === told) return;
    told = now;
    if (problems.length > 0) logger.warn({ problems }, 'not ready');
    else logger.info('ready again');
  };
  const next = (): void => {
    look()
      .catch((error: unknown) => logger.warn({ err: error }, 'not ready'))
      .finally(() => {
        if (!isOver) cancel = systemClock.schedule(next, PERIOD_MS);
      });
  };
  next();
  return () => {
    isOver = true;
    cancel();
  };
}
