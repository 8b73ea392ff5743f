import type { Runner } from '../../src/index.js';

/** What became of a kit's cases: the messages of those that failed, by name. */
export interface Collected {
  readonly names: readonly string[];
  readonly failures: ReadonlyMap<string, string>;
}

/** Runs a kit outside any test runner, all cases side by side. */
export async function collect(register: (runner: Runner) => void): Promise<Collected> {
  const cases: { readonly name: string; readonly body: () => Promise<void> }[] = [];
  register({
    describe: (_name, body) => body(),
    test: (name, body) => cases.push({ name, body }),
  });
  const failures = new Map<string, string>();
  await Promise.all(
    cases.map(async ({ name, body }) => {
      try {
        await body();
      } catch (error) {
        failures.set(name, error instanceof Error ? error.message : String(error));
      }
    }),
  );
  return { names: cases.map(({ name }) => name), failures };
}

/** Short waits: a broken adapter must not cost the kit's full patience. Cases that fail for haste do no harm here. */
export const HASTE = { deadlineMs: 400, caseTimeoutMs: 3_000 } as const;
