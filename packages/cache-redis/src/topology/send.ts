import type { ChainableCommander } from 'ioredis';
import { asError } from '../bounded.js';
import type { ScriptCall } from '../calls.js';
import type { Client } from '../clients.js';
import { LUA, SHA } from '../lua/script.js';

type Sender = Pick<Client, 'call' | 'callBuffer'>;

/** Sends a call to a server that has probably seen the script. */
export function callBySha(sender: Sender, { key, args, encoding }: ScriptCall): Promise<unknown> {
  return encoding === 'utf8'
    ? sender.call('evalsha', SHA, 1, key, ...args)
    : sender.callBuffer('evalsha', SHA, 1, key, ...args);
}

/** Sends a call with the script's text, from which the server learns it. */
export function callByText(sender: Sender, { key, args, encoding }: ScriptCall): Promise<unknown> {
  return encoding === 'utf8'
    ? sender.call('eval', LUA, 1, key, ...args)
    : sender.callBuffer('eval', LUA, 1, key, ...args);
}

export function addBySha(pipeline: ChainableCommander, { key, args, encoding }: ScriptCall): void {
  if (encoding === 'utf8') pipeline.call('evalsha', SHA, 1, key, ...args);
  else pipeline.callBuffer('evalsha', SHA, 1, key, ...args);
}

export function addByText(pipeline: ChainableCommander, { key, args, encoding }: ScriptCall): void {
  if (encoding === 'utf8') pipeline.call('eval', LUA, 1, key, ...args);
  else pipeline.callBuffer('eval', LUA, 1, key, ...args);
}

/** The replies of a pipeline, a failed command's `Error` in its place. */
export async function execute(pipeline: ChainableCommander): Promise<unknown[]> {
  const replies = await pipeline.exec();
  if (replies === null) throw new Error('the pipeline was discarded');
  return replies.map(([error, reply]) => error ?? reply);
}

/** The answers of commands sent one by one, a failed command's `Error` in its place. */
export function settled<T>(answers: readonly Promise<T>[]): Promise<(T | Error)[]> {
  return Promise.all(answers.map((answer) => answer.catch(asError)));
}

export function isLostScript(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('NOSCRIPT');
}
