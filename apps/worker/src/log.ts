import pino, { type Logger } from 'pino';

/** JSON lines on standard output. Jobs and errors are logged, never the values of entities. */
export function workerLogger(level: string): Logger {
  return pino({
    level,
    name: 'lockstep-worker',
    base: { pid: process.pid },
    timestamp: pino.stdTimeFunctions.isoTime,
  });
}
