import { accessSync, constants, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { InvalidArgumentError, Option } from 'commander';
import { PEERS, type PeerName } from '../peers/peers.js';
import type { StoreName } from '../peers/sides.js';
import { machine } from './machine.js';

/** Options that several suites have. */
export interface Flags {
  readonly json?: string;
  readonly turns: number;
  readonly turnMs: number;
  readonly pool: number;
  readonly store: StoreName;
  readonly peers: readonly PeerName[];
}

const MAX_SIZE = 100_000_000;

/** A whole number within bounds; the error tells them. */
export function integer(min: number, max: number): (text: string) => number {
  return (text) => {
    const number = Number(text);
    if (text.trim() !== '' && Number.isInteger(number) && number >= min && number <= max) return number;
    throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
  };
}

/** Some of these names, with commas between; the error lists them. */
export function namesOf<Name extends string>(all: readonly Name[]): (text: string) => Name[] {
  return (text) => {
    const names = text.split(',');
    const unknown = names.filter((name) => !all.includes(name as Name));
    if (unknown.length === 0) return all.filter((name) => names.includes(name));
    throw new InvalidArgumentError(`There is no ${unknown.join(', ')}. It must be some of ${all.join(',')}.`);
  };
}

/** A file that can be written: found out before the suite runs, not after. */
function fileOf(path: string): string {
  try {
    accessSync(dirname(path), constants.W_OK);
  } catch {
    throw new InvalidArgumentError(`There is no folder ${dirname(path)} that can be written to.`);
  }
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory() === true) {
    throw new InvalidArgumentError('It is a folder.');
  }
  return path;
}

export const json = () => new Option('--json <file>', 'write the result there, too').argParser(fileOf);

export const turns = (count: number, what = 'measured turns of each side, after one that warms up') =>
  new Option('--turns <n>', what).argParser(integer(1, 1_000)).default(count);

export const turnMs = (ms: number) =>
  new Option('--turn-ms <n>', 'how long each turn goes on').argParser(integer(1, 60_000)).default(ms);

export const pool = (count: number, whose = 'connections to the database, of each side') =>
  new Option('--pool <n>', whose).argParser(integer(1, 100)).default(count);

export const size = (flag: string, what: string, count: number) =>
  new Option(flag, what).argParser(integer(1, MAX_SIZE)).default(count);

export const names = <Name extends string>(flag: string, what: string, all: readonly Name[]) =>
  new Option(flag, `${what}, with commas between`).argParser(namesOf(all)).default(all, all.join(','));

export const store = () =>
  new Option('--store <name>', 'the system of record').choices(['postgres', 'mongo']).default('postgres');

export const peers = (some: readonly PeerName[] = Object.keys(PEERS) as PeerName[]) =>
  new Option('--peers <names>', 'which caches beside ours, with commas between')
    .argParser(namesOf(Object.keys(PEERS) as PeerName[]))
    .default(some, some.join(','));

export function progress(text: string): void {
  console.error(text);
}

/** Writes the result to the file, with the machine that it is of; the text of it. */
export function save(result: object, file: string | undefined): string {
  const text = `${JSON.stringify({ machine: machine(), ...result }, null, 2)}\n`;
  if (file !== undefined) writeFileSync(file, text);
  return text;
}

/** As {@link save}, and prints it. */
export function write(result: object, file: string | undefined): void {
  console.log(save(result, file));
}
