import { readFileSync } from 'node:fs';
import { InvalidOptionError } from '@lockstep/core';
import { WORKER } from '../settings.js';

type Environment = Readonly<Record<string, string | undefined>>;

const TOKEN = 'LOCKSTEP_TOKEN';
const FILE = 'LOCKSTEP_TOKEN_FILE';

/** The dashboard's token, from a variable or a file. Throws `InvalidOptionError`, without the token in it. */
export function tokenFrom(environment: Environment): string | undefined {
  const { [FILE]: file, [TOKEN]: text } = environment;
  if (text && file) throw new InvalidOptionError(FILE, `excludes ${TOKEN}`);
  const token = file ? contents(file) : text || undefined;
  if (token === undefined || WORKER.token.fits(token)) return token;
  throw new InvalidOptionError(file ? FILE : TOKEN, `must be ${WORKER.token.range}`);
}

function contents(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
    throw new InvalidOptionError(FILE, `can't be read: ${code}`);
  }
}
