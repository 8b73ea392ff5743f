import { connect } from 'node:net';

/** Errors of a connection that the server has ended. It may also end without an error. */
const ENDED = /EPIPE|ECONNRESET|closed/;
const MAX_LENGTH = 200;

export interface ServerAddress {
  readonly host?: string | undefined;
  readonly port?: number | undefined;
  /** A socket in the file system, which is not asked. */
  readonly path?: string | undefined;
}

/**
 * The reason that a Redis gives to a new connection before it ends that: protected mode, or too many clients. A client
 * that has sent something by then sees only the end. `undefined`: there is no reason, or another `cause` is known.
 */
export async function saidAtConnect(
  { host = 'localhost', path, port = 6_379 }: ServerAddress,
  cause: Error | undefined,
  timeoutMs = 2_000,
): Promise<Error | undefined> {
  if (path !== undefined || !ENDED.test(cause?.message ?? 'closed')) return undefined;
  const text = await new Promise<string>((resolve) => {
    let read = '';
    // The bound is of the whole, not of a pause: a server may send one byte at a time.
    const socket = connect({ host, port, signal: AbortSignal.timeout(timeoutMs) });
    const end = (): void => {
      socket.destroy();
      resolve(read);
    };
    socket.unref().setEncoding('latin1');
    socket.on('data', (part: string) => {
      read += part;
      if (read.includes('\n') || read.length > MAX_LENGTH) end();
    });
    socket.on('end', end).on('error', end).on('close', end);
  });
  // An error of the protocol; its first sentence.
  const [, says] = /^-(.+?)(?:\.\s|\r|\n|$)/.exec(text) ?? [];
  return says === undefined ? undefined : new Error(says.slice(0, MAX_LENGTH));
}
