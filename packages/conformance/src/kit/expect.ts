import { AssertionError } from 'node:assert/strict';
import { inspect, isDeepStrictEqual } from 'node:util';

function show(value: unknown): string {
  return inspect(value, { depth: 5, breakLength: Number.POSITIVE_INFINITY, maxStringLength: 200 });
}

/** Throws, saying what was looked at, unless the two are deeply equal. */
export function expectEqual(actual: unknown, expected: unknown, what: string): void {
  if (isDeepStrictEqual(actual, expected)) return;
  throw new AssertionError({
    message: `${what}: expected ${show(expected)}, got ${show(actual)}`,
    actual,
    expected,
    operator: 'deepStrictEqual',
  });
}

/** Throws `what` unless the condition holds. */
export function expectThat(condition: boolean, what: string): asserts condition {
  if (!condition) throw new AssertionError({ message: what, actual: condition, expected: true });
}

/** Throws unless the promise rejects with an error; returns that error. */
export async function expectRejection(work: Promise<unknown>, what: string): Promise<Error> {
  let answer: unknown;
  try {
    answer = await work;
  } catch (error) {
    expectThat(error instanceof Error, `${what}: must reject with an Error, got ${show(error)}`);
    return error;
  }
  throw new AssertionError({ message: `${what}: must reject, got ${show(answer)}`, actual: answer });
}
