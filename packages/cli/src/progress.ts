import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { InvalidOptionError, messageOf } from '@lockstep/core';

const WIDTH = 24;

/** `[######------] 42 %`; without a share only the brackets' place. */
export function bar(share: number | undefined): string {
  if (share === undefined) return '';
  const done = Math.round(Math.min(1, Math.max(0, share)) * WIDTH);
  return `[${'#'.repeat(done)}${'-'.repeat(WIDTH - done)}] ${String(Math.round(share * 100)).padStart(3)} %`;
}

/** A file that says how far a long command has come, so that the next run goes on from there. */
export class Checkpoint<Saved> {
  readonly #file: string | undefined;

  constructor(file: string | undefined) {
    this.#file = file;
  }

  /** `undefined`: begin anew. Throws `InvalidOptionError`. */
  read(): Saved | undefined {
    if (this.#file === undefined || !existsSync(this.#file)) return undefined;
    try {
      return JSON.parse(readFileSync(this.#file, 'utf8')) as Saved;
    } catch (error) {
      throw new InvalidOptionError('--resume', `${this.#file} can't be read: ${messageOf(error)}`);
    }
  }

  /** Whole or not at all. Throws `InvalidOptionError`. */
  write(saved: Saved): void {
    if (this.#file === undefined) return;
    try {
      writeFileSync(`${this.#file}.new`, JSON.stringify(saved));
      renameSync(`${this.#file}.new`, this.#file);
    } catch (error) {
      throw new InvalidOptionError('--resume', `${this.#file} can't be written: ${messageOf(error)}`);
    }
  }

  /** All is done: the next run begins anew. */
  remove(): void {
    if (this.#file !== undefined) rmSync(this.#file, { force: true });
  }
}
