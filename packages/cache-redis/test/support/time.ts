/** How long it takes until `ready` gives true or something else that is no failure, in ms. Rejects after `withinMs`. */
export async function until(
  what: string,
  withinMs: number,
  ready: () => Promise<boolean> | boolean,
): Promise<number> {
  const began = performance.now();
  let last: unknown;
  for (;;) {
    try {
      if (await ready()) return performance.now() - began;
    } catch (error) {
      last = error;
    }
    const elapsed = performance.now() - began;
    if (elapsed > withinMs) throw new Error(`${what}: not within ${withinMs} ms`, { cause: last });
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** How long the work took, in ms, and what it rejected with. */
export async function failure(work: Promise<unknown>): Promise<{ error: unknown; ms: number }> {
  const began = performance.now();
  try {
    const answer = await work;
    throw new Error(`expected a rejection, got ${JSON.stringify(answer)}`);
  } catch (error) {
    return { error, ms: performance.now() - began };
  }
}
