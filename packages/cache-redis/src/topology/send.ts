import type { ChainableCommander } from 'ioredis';
import { asError } from '../bounded.js';
import type { ScriptCall } from '../calls.js';
import type { Client } from '../clients.js';

type Sender = Pick<Client, 'call' | 'callBuffer'>;

export function callBySha(sender: Sender, { script, key, args, encoding }: ScriptCall): Promise<unknown> {
  return encoding === 'utf8'
    ? sender.call('evalsha', script.sha, 1, key, ...args)
    : sender.callBuffer('evalsha', script.sha, 1, key, ...args);
}

export function callByText(sender: Sender, { script, key, args, encoding }: ScriptCall): Promise<unknown> {
  return encoding === 'utf8'
    ? sender.call('eval', script.lua, 1, key, ...args)
    : sender.callBuffer('eval', script.lua, 1, key, ...args);
}

export function addBySha(pipeline: ChainableCommander, { script, key, args, encoding }: ScriptCall): void {
  if (encoding === 'utf8') pipeline.call('evalsha', script.sha, 1, key, ...args);
  else pipeline.callBuffer('evalsha', script.sha, 1, key, ...args);
}

export function addByText(pipeline: ChainableCommander, { script, key, args, encoding }: ScriptCall): void {
  if (encoding === 'utf8') pipeline.call('eval', script.lua, 1, key, ...args);
  else pipeline.callBuffer('eval', script.lua, 1, key, ...args);
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
