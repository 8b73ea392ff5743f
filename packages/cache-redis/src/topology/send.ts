import type { ChainableCommander } from 'ioredis';
import { asError } from '../bounded.js';
import type { ScriptCall } from '../calls.js';
import type { Client } from '../clients.js';
import type { Stored } from '../format.js';
import { FAILED, LUA, SHA } from '../lua/script.js';
import { answerOf } from '../refusal.js';

type Sender = Pick<Client, 'call' | 'callBuffer'>;

/** The script by its digest, for a server that has probably seen it, or by its text, from which a server learns it. */
const SCRIPT = { digest: ['evalsha', SHA], text: ['eval', LUA] } as const;

export type ScriptForm = keyof typeof SCRIPT;

export function callScript(
  sender: Sender,
  { kind, key, args, encoding }: ScriptCall,
  by: ScriptForm = 'digest',
): Promise<unknown> {
  const [run, script] = SCRIPT[by];
  return encoding === 'utf8'
    ? sender.call(run, script, 1, key, kind, ...args)
    : sender.callBuffer(run, script, 1, key, kind, ...args);
}

export function addScript(
  pipeline: ChainableCommander,
  call: ScriptCall | Chunk,
  by: ScriptForm = 'digest',
): void {
  const [run, script] = SCRIPT[by];
  if ('keys' in call) pipeline.call(run, script, call.keys.length, ...call.keys, ...call.args);
  else if (call.encoding === 'utf8') pipeline.call(run, script, 1, call.key, call.kind, ...call.args);
  else pipeline.callBuffer(run, script, 1, call.key, call.kind, ...call.args);
}

/** Calls on keys of one server that travel as one: its reply is a list of theirs. */
export interface Chunk {
  readonly keys: readonly string[];
  readonly args: readonly Stored[];
}

/** More would keep the server's other clients waiting. */
const MAX_CHUNK = 64;

/** Neighbours of one kind whose replies are text as chunks; a reply in bytes comes in a call of its own. */
export function chunksOf(calls: readonly ScriptCall[]): (ScriptCall | Chunk)[] {
  const chunks: (ScriptCall | Chunk)[] = [];
  let from = 0;
  while (from < calls.length) {
    const first = calls[from] as ScriptCall;
    let to = from + 1;
    while (to < calls.length && to - from < MAX_CHUNK && together(first, calls[to])) to += 1;
    if (to - from === 1) {
      chunks.push(first);
      from = to;
      continue;
    }
    const keys: string[] = [];
    const args: Stored[] = [first.kind];
    for (; from < to; from += 1) {
      const call = calls[from] as ScriptCall;
      keys.push(call.key);
      for (const arg of call.args) args.push(arg);
    }
    chunks.push({ keys, args });
  }
  return chunks;
}

/** The script tells the commands of a run apart by their number of arguments, which the kind decides. */
function together(first: ScriptCall, other: ScriptCall | undefined): boolean {
  const { kind } = first;
  return (
    kind !== 'unflushed' && kind === other?.kind && first.encoding === 'utf8' && other.encoding === 'utf8'
  );
}

/** The replies of calls that travelled as {@link chunksOf} made of them. */
export function unchunked(chunks: readonly (ScriptCall | Chunk)[], replies: readonly unknown[]): unknown[] {
  const all: unknown[] = [];
  chunks.forEach((chunk, index) => {
    const reply = replies[index];
    if (!('keys' in chunk)) all.push(reply);
    else if (!Array.isArray(reply)) for (const _ of chunk.keys) all.push(reply);
    else for (const each of reply) all.push(unmarked(each));
  });
  return all;
}

function unmarked(reply: unknown): unknown {
  return typeof reply === 'string' && reply.startsWith(FAILED)
    ? new Error(reply.slice(FAILED.length))
    : reply;
}

const NOTHING = Buffer.alloc(0);

/** The first bytes of texts, sent together; those that met a moved slot once more on their own. */
export async function headsOf(
  client: Client,
  keys: readonly string[],
  length: number,
  redirects: (error: Error) => boolean,
): Promise<readonly (Buffer | Error)[]> {
  const one = (key: string): Promise<Buffer | Error> =>
    client.getrangeBuffer(key, 0, length - 1).catch((error: unknown) => answerOf(error) ?? NOTHING);
  const [first] = keys;
  if (first !== undefined && keys.length === 1) return [await one(first)];
  const pipeline = client.pipeline();
  for (const key of keys) pipeline.getrangeBuffer(key, 0, length - 1);
  const answers = await execute(pipeline);
  return await Promise.all(
    answers.map((answer, index) => {
      if (!(answer instanceof Error)) return answer as Buffer;
      if (redirects(answer)) return one(keys[index] as string).catch(asError);
      return answer.message.startsWith('WRONGTYPE') ? NOTHING : answer;
    }),
  );
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
