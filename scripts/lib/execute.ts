import { execa } from 'execa';
import { ROOT } from './repository.ts';

/** No step of a check takes this long on a machine that works. */
const TIMEOUT_MS = 180_000;

export interface Execution {
  readonly ok: boolean;
  /** What it wrote to both streams, in order. */
  readonly output: string;
}

/** Runs a command to its end and collects what it says; never rejects. It ends with this process. */
export async function execute(
  command: string,
  args: readonly string[],
  options: { readonly cwd?: string; readonly env?: Readonly<Record<string, string | undefined>> } = {},
): Promise<Execution> {
  const result = await execa(command, args, {
    cwd: options.cwd ?? ROOT,
    env: { ...options.env },
    stdin: 'ignore',
    all: true,
    reject: false,
    timeout: TIMEOUT_MS,
  });
  const output = [result.all, result.failed && result.exitCode === undefined ? result.shortMessage : '']
    .filter(Boolean)
    .join('\n');
  return { ok: !result.failed, output };
}

/** As `execute`, for steps without which the rest makes no sense: throws with the output. */
export async function must(...call: Parameters<typeof execute>): Promise<string> {
  const { ok, output } = await execute(...call);
  if (ok) return output;
  throw new Error(`${call[0]} ${call[1].join(' ')} failed:\n${output}`);
}
