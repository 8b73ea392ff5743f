import pino, { type Logger } from 'pino';

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error'] as const;

/** JSON lines on standard output. Jobs and errors are logged, never the values of entities. */
export function workerLogger(level: (typeof LOG_LEVELS)[number]): Logger {
  return pino({
    level,
    name: 'lockstep-worker',
    base: { pid: process.pid },
    timestamp: pino.stdTimeFunctions.isoTime,
    serializers: { err: describe },
  });
}

/** Without the further fields of a driver's error, which may hold rows (`detail`) or addresses. */
function describe(error: unknown): object {
  if (!(error instanceof Error)) return { message: String(error) };
  const { message, name, stack } = error;
  const code = 'code' in error && typeof error.code === 'string' ? { code: error.code } : {};
  const cause = error.cause instanceof Error ? { cause: error.cause.message } : {};
  return { type: name, message, ...code, ...cause, stack };
}
