import { connect } from 'node:net';

/** What a client sees of a connection that the server has ended; no error at all is one as well. */
const ENDED = /EPIPE|ECONNRESET|closed/;
const MAX_LENGTH = 200;

export interface ServerAddress {
  readonly host?: string | undefined;
  readonly port?: number | undefined;
  /** Of a socket in the file system: it is not asked. */
  readonly path?: string | undefined;
}

/**
 * What a Redis says to a new connection before it ends it: protected mode, or too many clients. A client that has sent
 * something by then sees only that the connection has ended. `undefined`: it says nothing, or another `cause` is known.
 */
export async function saidAtConnect(
  { host = 'localhost', path, port = 6_379 }: ServerAddress,
  cause: Error | undefined,
  timeoutMs = 500,
): Promise<Error | undefined> {
  if (path !== undefined || !ENDED.test(cause?.message ?? 'closed')) return undefined;
  const text = await new Promise<string>((resolve) => {
    let read = '';
    const socket = connect({ host, port, timeout: timeoutMs });
    const end = (): void => {
      socket.destroy();
      resolve(read);
    };
    socket.unref().setEncoding('latin1');
    socket.on('data', (part: string) => {
      read += part;
      if (read.includes('\n') || read.length > MAX_LENGTH) end();
    });
    socket.on('end', end).on('timeout', end).on('error', end).on('close', end);
  });
  // An error of the protocol; its first sentence.
  const [, says] = /^-(.+?)(?:\.\s|\r|\n|$)/.exec(text) ?? [];
  return says === undefined ? undefined : new Error(says.slice(0, MAX_LENGTH));
}
