import { createHash } from 'node:crypto';
import type { Payload } from '../contracts/cache-commands.js';
import type { RowShape, StoreShape } from '../contracts/rows.js';
import { headerLength, restOf, startOf, withHeader } from './header.js';

/** How what is cached compares with what this process knows of the rows. */
export type ShapeFit =
  /** All that this process knows is there, of the same types: the rest is not shown. */
  | 'wider'
  /** Something is missing, or of another type: what this process loads takes its place. */
  | 'earlier'
  /** As `earlier`, but made by a process of a later shape: it stays. */
  | 'later';

const HEADER = /^.S1(\d{1,16})([:=])([A-Za-z0-9_.-]*)~$/;
/** The header's characters for a table with the most columns that Postgres allows. */
const MAX_HEADER = 8_300;
/** Characters of a column's fingerprint. */
const TOKEN = 5;
/** Others' shapes that are remembered; there are as many as releases that run side by side. */
const MAX_FITS = 64;

/** A shape as it travels. */
interface Known {
  readonly shape: RowShape | undefined;
  readonly text: string;
  readonly bytes: Buffer;
  readonly kind: ':' | '=';
  readonly order: number;
  readonly tokens: string;
  /** By others' headers. */
  readonly fits: Map<string, ShapeFit>;
}

interface BufferedBody {
  readonly body: Payload;
  readonly other: boolean;
  readonly unknown: readonly string[];
}

/** Puts the shape that this process knows in front of payloads, and compares what comes back with it. */
export class Shapes {
  readonly #source: StoreShape;
  #known: Known | undefined;

  constructor(source: StoreShape) {
    this.#source = source;
  }

  /** The payload with this process's shape in front; as it is where that has no name. */
  wrap(body: Payload): Payload {
    const { bytes, text } = this.#now();
    if (text === '') return body;
    return typeof body === 'string' ? text + body : Buffer.concat([bytes, body]);
  }

  /** The payload behind its header, if that is this process's own shape, else `undefined`. Hot path: one comparison. */
  own(payload: Payload): Payload | undefined {
    const { bytes, shape, text } = this.#now();
    if (shape === undefined) return undefined;
    if (text === '') return headerOf(payload) === '' ? payload : undefined;
    if (typeof payload === 'string') {
      return payload.startsWith(text) ? payload.slice(text.length) : undefined;
    }
    const { length } = bytes;
    const same = payload.byteLength >= length && bytes.compare(payload, 0, length) === 0;
    return same ? payload.subarray(length) : undefined;
  }

  /** How a payload of another shape compares. One without any was made by a release that had none. */
  fit(payload: Payload): { readonly fit: ShapeFit; readonly body: Payload } {
    const known = this.#now();
    const header = headerOf(payload);
    if (known.shape === undefined) return { fit: 'later', body: restOf(payload, header.length) };
    let fit = known.fits.get(header);
    if (fit === undefined) {
      fit = fitOf(header, known);
      if (known.fits.size >= MAX_FITS) known.fits.clear();
      known.fits.set(header, fit);
    }
    return { fit, body: restOf(payload, header.length) };
  }

  /** The value without what this process does not know. */
  shown<Value>(value: Value): Value {
    const properties = this.#now().shape?.properties;
    if (properties === undefined || typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(
      Object.entries(value).filter(([property]) => properties.has(property)),
    ) as Value;
  }

  /**
   * A buffered payload's body. `other`: its shape is not this process's, and the store was asked for its present one;
   * then `unknown` are the properties, of their present types, that whoever made it did not know.
   */
  async buffered(payload: Payload): Promise<BufferedBody> {
    const header = headerOf(payload);
    const body = this.own(payload);
    if (body !== undefined || header === '') return { body: body ?? payload, other: false, unknown: [] };
    await this.#source.renew();
    const [, , kind, tokens = ''] = HEADER.exec(header) ?? [];
    const made = new Set(tokensOf(tokens));
    const properties = kind === ':' && tokens !== '' ? (this.#now().shape?.properties ?? []) : [];
    const unknown = [...properties].filter((each) => !made.has(tokenOf(each))).map(([property]) => property);
    return { body: restOf(payload, header.length), other: true, unknown };
  }

  #now(): Known {
    const shape = this.#source.current();
    if (this.#known === undefined || this.#known.shape !== shape) this.#known = knownOf(shape);
    return this.#known;
  }
}

function knownOf(shape: RowShape | undefined): Known {
  const { name, order = 0, properties } = shape ?? {};
  const kind = name === undefined ? ':' : '=';
  const tokens = name ?? [...(properties ?? [])].map(tokenOf).sort().join('');
  const head = `S1${order}${kind}${tokens}` as const;
  const text = name === '' ? '' : String(withHeader('', head));
  const bytes = Buffer.from(name === '' ? '' : withHeader(Buffer.alloc(0), head));
  return { shape, text, bytes, kind, order, tokens, fits: new Map() };
}

function tokenOf([property, type]: readonly [string, string]): string {
  const hash = createHash('sha256').update(JSON.stringify([property, type]));
  return hash.digest('base64url').slice(0, TOKEN);
}

function fitOf(header: string, known: Known): ShapeFit {
  const [found, order, kind, tokens = ''] = HEADER.exec(header) ?? [];
  // A process that did not know its shape at that moment has written no tokens.
  if (found === undefined || (kind === ':' && tokens === '')) return 'earlier';
  if (kind === ':' && known.kind === ':' && includesAll(tokens, known.tokens)) return 'wider';
  if (kind === '=' && known.kind === '=' && tokens === known.tokens) return 'wider';
  const ahead = Number(order) - known.order || inOrder(tokens, known.tokens);
  return ahead > 0 ? 'later' : 'earlier';
}

function includesAll(tokens: string, wanted: string): boolean {
  const all = new Set(tokensOf(tokens));
  return tokensOf(wanted).every((token) => all.has(token));
}

function tokensOf(text: string): string[] {
  return text.match(new RegExp(`.{${TOKEN}}`, 'g')) ?? [];
}

/** Numbers in names count as numbers: `v10` is later than `v9`. */
const NATURAL = new Intl.Collator('en', { numeric: true });

function inOrder(a: string, b: string): number {
  return NATURAL.compare(a, b) || (a < b ? -1 : 1);
}

/** Empty: there is none. */
function headerOf(payload: Payload): string {
  return startOf(payload, headerLength(payload, 'S1', MAX_HEADER));
}
