import { readFileSync } from 'node:fs';
import { type IntegrityOptions, InvalidOptionError } from '@lockstep/core';

type Environment = Readonly<Record<string, string | undefined>>;

const KEYS = 'LOCKSTEP_INTEGRITY_KEYS';
const FILE = 'LOCKSTEP_INTEGRITY_KEYS_FILE';
const UNSIGNED = 'LOCKSTEP_INTEGRITY_ACCEPT_UNSIGNED';
/** Eight keys of the longest secrets. */
const MAX_BYTES = 16_384;

/** The keys that sign entries and jobs, from a variable or a file. Throws `InvalidOptionError`, without a secret in it. */
export function integrityFrom(environment: Environment): IntegrityOptions | undefined {
  const { [FILE]: file, [KEYS]: text, [UNSIGNED]: unsigned } = environment;
  if (text && file) throw new InvalidOptionError(FILE, `excludes ${KEYS}`);
  if (unsigned && unsigned !== 'true' && unsigned !== 'false') {
    throw new InvalidOptionError(UNSIGNED, 'must be true or false');
  }
  const name = file ? FILE : KEYS;
  const lines = file ? contents(file).split('\n') : (text ?? '').split(',');
  const keys = lines.flatMap((line) => (line.trim() === '' ? [] : [keyOf(line.trim(), name)]));
  if (keys.length > 0) return { keys, acceptUnsigned: unsigned === 'true' };
  if (file) throw new InvalidOptionError(FILE, 'there is no key in it');
  if (unsigned) throw new InvalidOptionError(UNSIGNED, `needs ${KEYS} or ${FILE}`);
  return undefined;
}

function contents(file: string): string {
  try {
    const text = readFileSync(file, 'utf8');
    if (text.length <= MAX_BYTES) return text;
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
    throw new InvalidOptionError(FILE, `can't be read: ${code}`);
  }
  throw new InvalidOptionError(FILE, `must have at most ${MAX_BYTES} bytes`);
}

function keyOf(line: string, name: string): IntegrityOptions['keys'][number] {
  const at = line.indexOf(':');
  const [id, secret] = [line.slice(0, at), line.slice(at + 1)];
  if (at > 0 && Buffer.byteLength(secret) >= 32) return { id, secret };
  throw new InvalidOptionError(name, 'each key is an id, a colon, and 32 bytes or more');
}
