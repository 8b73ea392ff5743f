import zlib from 'node:zlib';
import type { Payload } from '../contracts/cache-commands.js';
import type { CompressionOptions } from '../contracts/options.js';
import { InvalidOptionError, UnsupportedError } from '../errors.js';
import { type OptionsOf, option, type Settings } from '../kit/options.js';
import { hasHeader, headerLength, restOf, startOf, withHeader } from './header.js';

/** The default threshold. A call takes 20 µs however short the value is, and saves less than 3 KB below this. */
const THRESHOLD_BYTES = 4_096;

export const COMPRESSION = {
  algorithm: option.required(option.choice(['zstd', 'brotli', 'none'], undefined)),
  thresholdBytes: option.integer(THRESHOLD_BYTES, 0, 512 * 2 ** 20),
} satisfies OptionsOf<CompressionOptions>;

export type CompressionSettings = Settings<typeof COMPRESSION>;

type Algorithm = 'zstd' | 'brotli';
type Done = (error: Error | null, result: Buffer) => void;

/** Node's functions of one algorithm. */
interface Codec {
  readonly letter: string;
  readonly compressSync: (body: Uint8Array) => Buffer;
  readonly compress: (body: Uint8Array, done: Done) => void;
  readonly plainSync: (body: Uint8Array, length: number) => Buffer;
  readonly plain: (body: Uint8Array, length: number, done: Done) => void;
}

/** The algorithm's letter, and the length of what was compressed, in bytes. */
const HEADER = /^.Z1([zbr])([1-9]\d{0,9})~$/;
/** A header is no longer. */
const MAX_HEADER = 16;
/** The letter of a body that is as the serializer made it, and looks compressed. */
const AS_IT_IS = 'r';

/**
 * From these lengths on the thread pool does the work. Compressed at once, so much takes about 0.3 ms; handing it over
 * takes 0.03 to 0.1 ms of the event loop, and a few times as long until it is back.
 */
const COMPRESS_ASIDE_BYTES = 64 * 2 ** 10;
const DECOMPRESS_ASIDE_BYTES = 256 * 2 ** 10;
/** The most that is allocated before anything was decompressed. */
const MAX_CHUNK = 256 * 2 ** 10;
const MIN_CHUNK = 64;
/** A body that is not shorter by this part stays as it is: to decompress it would cost more than it saves. */
const WORTHWHILE = 1 / 8;

/** The next levels took up to three times as long: zstd's 3 for nothing, brotli's 5 for a tenth less (performance.md). */
const ZSTD_LEVEL = 1;
const BROTLI_QUALITY = 4;

const BROTLI: Codec = {
  letter: 'b',
  compressSync: (body) => zlib.brotliCompressSync(body, brotliOptions(body)),
  compress: (body, done) => zlib.brotliCompress(body, brotliOptions(body), done),
  plainSync: (body, length) => zlib.brotliDecompressSync(body, bounded(length)),
  plain: (body, length, done) => zlib.brotliDecompress(body, bounded(length), done),
};

const ZSTD: Codec = {
  letter: 'z',
  compressSync: (body) => zlib.zstdCompressSync(body, zstdOptions()),
  compress: (body, done) => zlib.zstdCompress(body, zstdOptions(), done),
  plainSync: (body, length) => zlib.zstdDecompressSync(body, zstdBounded(length)),
  plain: (body, length, done) => zlib.zstdDecompress(body, zstdBounded(length), done),
};

function brotliOptions({ byteLength }: Uint8Array): zlib.BrotliOptions {
  const { BROTLI_PARAM_QUALITY, BROTLI_PARAM_SIZE_HINT } = zlib.constants;
  return { params: { [BROTLI_PARAM_QUALITY]: BROTLI_QUALITY, [BROTLI_PARAM_SIZE_HINT]: byteLength } };
}

function zstdOptions(): zlib.ZstdOptions {
  return { params: { [zlib.constants.ZSTD_c_compressionLevel]: ZSTD_LEVEL } };
}

function bounded(length: number): { readonly maxOutputLength: number; readonly chunkSize: number } {
  return { maxOutputLength: length, chunkSize: Math.max(MIN_CHUNK, Math.min(length, MAX_CHUNK)) };
}

/** A frame's header may ask for a window of 128 MiB, whatever comes behind it. */
function zstdBounded(length: number): zlib.ZstdOptions {
  const windowLog = Math.max(10, Math.ceil(Math.log2(length)));
  return { ...bounded(length), params: { [zlib.constants.ZSTD_d_windowLogMax]: windowLog } };
}

/** False for Node.js before 22.15, and for 23 before 23.8. */
function hasZstd(of: Partial<Pick<typeof zlib, 'zstdCompress'>>): boolean {
  return typeof of.zstdCompress === 'function';
}

/** Throws `InvalidOptionError` for an algorithm that this Node.js does not have. `of`: its zlib. */
export function checkCompression(
  settings: CompressionSettings | undefined,
  where: string,
  of: Parameters<typeof hasZstd>[0] = zlib,
): void {
  if (settings?.algorithm !== 'zstd' || hasZstd(of)) return;
  const problem = `must be brotli or none: this is Node.js ${process.version}, and zstd needs 22.15 or later (of 23: 23.8)`;
  throw new InvalidOptionError(`${where}.compression.algorithm`, problem);
}

/** Turns a serializer's output into what is cached, compressed from a threshold on, and back. */
export class Compression {
  readonly #codec: Codec | undefined;
  readonly #thresholdBytes: number;
  readonly #maxBytes: number;

  /** @param maxBytes the bound of what a serializer made, whether it is compressed or not */
  constructor(settings: CompressionSettings | undefined, maxBytes: number) {
    this.#codec = codecOf(settings?.algorithm);
    this.#thresholdBytes = settings?.thresholdBytes ?? 0;
    this.#maxBytes = maxBytes;
  }

  /** The body as it is cached; a promise, which does not reject, for long ones that are compressed. */
  stored(body: Payload): Payload | Promise<Payload> {
    const asItIs = isCompressed(body) ? join(AS_IT_IS, bytesOf(body), typeof body === 'string') : body;
    const codec = this.#codec;
    // A UTF-16 unit takes at most three bytes.
    if (codec === undefined || body.length * 3 < this.#thresholdBytes || body.length === 0) return asItIs;
    const text = typeof body === 'string';
    const bytes = bytesOf(body);
    if (bytes.byteLength < this.#thresholdBytes || bytes.byteLength > this.#maxBytes) return asItIs;
    const shorter = (compressed: Buffer): Payload => {
      const stored = join(codec.letter, compressed, text, bytes.byteLength);
      return stored.length <= bytes.byteLength * (1 - WORTHWHILE) ? stored : asItIs;
    };
    if (bytes.byteLength >= COMPRESS_ASIDE_BYTES) {
      return new Promise((resolve) => {
        codec.compress(bytes, (error, compressed) => resolve(error === null ? shorter(compressed) : asItIs));
      });
    }
    try {
      return shorter(codec.compressSync(bytes));
    } catch {
      return asItIs;
    }
  }

  /**
   * The body as the serializer made it, of what `isCompressed`; a promise for long ones. Throws, or rejects, for what
   * can't be read, and for what is, or says that it is, too long: anybody may have put it there. `UnsupportedError`:
   * this Node.js lacks the algorithm.
   */
  plain(body: Payload): Payload | Promise<Payload> {
    const text = typeof body === 'string';
    const start = headerLength(body, 'Z1', MAX_HEADER);
    const [, letter, digits] = HEADER.exec(startOf(body, start)) ?? [];
    const length = Number(digits);
    if (letter === undefined) throw new TypeError('its header is not ours');
    if (length > this.#maxBytes)
      throw new RangeError(`it is of ${length} bytes, more than ${this.#maxBytes}`);
    const rest = restOf(body, start);
    const packed = typeof rest === 'string' ? Buffer.from(rest, 'base64') : rest;
    const made = (bytes: Uint8Array): Payload => {
      if (bytes.byteLength !== length) throw new TypeError('it is not as long as its header says');
      return text ? Buffer.from(bytes.buffer, bytes.byteOffset, length).toString() : bytes;
    };
    if (letter === AS_IT_IS) return made(packed);
    const codec = letter === ZSTD.letter ? ZSTD : BROTLI;
    if (codec === ZSTD && !hasZstd(zlib)) {
      throw new UnsupportedError(`zstd needs a later Node.js than ${process.version}`);
    }
    if (length < DECOMPRESS_ASIDE_BYTES) return made(codec.plainSync(packed, length));
    return new Promise((resolve, reject) => {
      codec.plain(packed, length, (error, bytes) => {
        try {
          if (error !== null) throw error;
          resolve(made(bytes));
        } catch (problem) {
          reject(problem as Error);
        }
      });
    });
  }
}

/** True for what `stored` made, and for nothing else that it gave back. Hot path: mostly one comparison. */
export function isCompressed(body: Payload): boolean {
  return hasHeader(body, 'Z1');
}

function codecOf(algorithm: Algorithm | 'none' | undefined): Codec | undefined {
  if (algorithm === 'zstd') return ZSTD;
  return algorithm === 'brotli' ? BROTLI : undefined;
}

function bytesOf(body: Payload): Uint8Array {
  return typeof body === 'string' ? Buffer.from(body) : body;
}

/** Text is read as text, by everyone: its bytes travel in base64. */
function join(letter: string, packed: Uint8Array, text: boolean, length = packed.byteLength): Payload {
  const { buffer, byteLength, byteOffset } = packed;
  const body = text ? Buffer.from(buffer, byteOffset, byteLength).toString('base64') : packed;
  return withHeader(body, `Z1${letter}${length}`);
}
