/** The difference of the two clocks, which both run on the system's monotonic one. */
const OFFSET_MS = hrtimeMs() - performance.now();

/**
 * Milliseconds of the machine's monotonic clock, with fractions: the same number in every process, so that
 * one process's acknowledgement can be compared with another's read.
 */
export function systemMs(): number {
  return performance.now() + OFFSET_MS;
}

function hrtimeMs(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1_000 + nanoseconds / 1_000_000;
}
