/** The difference of the two clocks, which both run on the system's monotonic one. */
const OFFSET_MS = offsetMs();

/**
 * Milliseconds of the machine's monotonic clock, with fractions: the same number in every process, so that
 * one process's acknowledgement can be compared with another's read.
 */
export function systemMs(): number {
  return performance.now() + OFFSET_MS;
}

/** The same in whole microseconds. */
export function nowUs(): number {
  return Math.round(systemMs() * 1_000);
}

/**
 * The closest of many looks: the first calls of a process take long enough to put its clock a tenth of a
 * millisecond off, and a read begun just before an acknowledgement would seem to have begun after it.
 */
function offsetMs(): number {
  let closest = Number.POSITIVE_INFINITY;
  let offset = 0;
  for (let look = 0; look < 200; look += 1) {
    const before = hrtimeMs();
    const now = performance.now();
    const after = hrtimeMs();
    if (after - before >= closest) continue;
    closest = after - before;
    offset = (before + after) / 2 - now;
  }
  return offset;
}

function hrtimeMs(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1_000 + nanoseconds / 1_000_000;
}
