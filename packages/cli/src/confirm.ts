import { confirm, isCancel } from '@clack/prompts';
import { InvalidOptionError } from '@lockstep/core';

/** Asks before what can't be taken back. Without a terminal there is nobody to ask: `--yes` must say it. */
export async function confirmed(question: string, yes: boolean | undefined): Promise<boolean> {
  if (yes === true) return true;
  if (!process.stdin.isTTY)
    throw new InvalidOptionError('--yes', 'is needed where there is no terminal to ask');
  // Standard output is the result's alone.
  const answer = await confirm({ message: question, initialValue: false, output: process.stderr });
  return !isCancel(answer) && answer;
}
