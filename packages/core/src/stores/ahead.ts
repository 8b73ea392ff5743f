import type { StoreCommand } from '../contracts/store.js';

/**
 * For stores: commands with their `aheadMs` folded into `above`, which every statement honours. The clock
 * is asked only if one of them has it.
 *
 * @param clockUs the store's own clock, in µs since the epoch
 */
export function foldAhead<Value>(
  commands: readonly StoreCommand<Value>[],
  clockUs: () => Promise<number>,
): readonly StoreCommand<Value>[] | Promise<readonly StoreCommand<Value>[]> {
  return commands.some((command) => aheadOf(command) > 0) ? folded(commands, clockUs) : commands;
}

async function folded<Value>(
  commands: readonly StoreCommand<Value>[],
  clockUs: () => Promise<number>,
): Promise<readonly StoreCommand<Value>[]> {
  const nowUs = await clockUs();
  return commands.map((command) => {
    const aheadMs = aheadOf(command);
    if (aheadMs === 0 || command.kind === 'flush') return command;
    return { ...command, above: Math.max(command.above, Math.ceil(nowUs + aheadMs * 1_000)) };
  });
}

function aheadOf(command: StoreCommand<unknown>): number {
  return command.kind === 'put' || command.kind === 'delete' ? (command.aheadMs ?? 0) : 0;
}
