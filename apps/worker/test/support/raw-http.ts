import { connect } from 'node:net';

export interface RawAnswer {
  /** `0`: the connection was closed without one. */
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** Everything that came. */
  readonly text: string;
}

/** Sends bytes as they are and waits until the server closes the connection. */
export function sendRaw(url: string, text: string): Promise<RawAnswer> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve) => {
    const socket = connect(Number(port), hostname.replace(/^\[|\]$/g, ''));
    let got = '';
    socket.setEncoding('utf8').on('data', (data: string) => {
      got += data;
    });
    // A connection that is reset has been closed, too.
    socket.on('error', () => undefined);
    socket.on('close', () => resolve(parse(got)));
    socket.write(text);
  });
}

/** One request that asks for the end of its connection. */
export function request(
  line: string,
  headers: Readonly<Record<string, string>>,
  body = '',
  version = 'HTTP/1.1',
): string {
  const all = {
    ...headers,
    Connection: 'close',
    ...(body === '' ? {} : { 'Content-Length': Buffer.byteLength(body) }),
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${line} ${version}\r\n${lines.join('')}\r\n${body}`;
}

function parse(text: string): RawAnswer {
  const [head = '', ...rest] = text.split('\r\n\r\n');
  const [first = '', ...lines] = head.split('\r\n');
  const headers = Object.fromEntries(
    lines.map((line) => {
      const [name = '', ...value] = line.split(': ');
      return [name.toLowerCase(), value.join(': ')];
    }),
  );
  return { status: Number(first.split(' ')[1] ?? 0), headers, body: rest.join('\r\n\r\n'), text };
}
