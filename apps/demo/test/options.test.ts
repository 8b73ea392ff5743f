import { describe, expect, test } from 'vitest';
import { knownMixes } from '../src/load/source.js';
import { parseOptions, UsageError } from '../src/options.js';

const MIXES = [...(await knownMixes()).keys()];

function parse(...argv: string[]) {
  return parseOptions(argv, MIXES);
}

function refusal(...argv: string[]): UsageError {
  try {
    parse(...argv);
  } catch (error) {
    if (error instanceof UsageError) return error;
    throw error;
  }
  throw new Error(`${argv.join(' ')} was taken`);
}

describe('the command line', () => {
  test('asks for the classic scenario on a page when it says nothing', () => {
    expect(parse()).toMatchObject({
      port: 4600,
      processes: 2,
      workers: 1,
      products: 10_000,
      mix: 'catalogue',
      faults: [],
      headless: false,
      engine: 'lockstep',
      store: 'postgres',
      seed: 1,
    });
    expect(parse().seconds).toBeUndefined();
    expect(parse().reads).toBeUndefined();
  });

  test('a run without a page ends by itself', () => {
    expect(parse('--headless').seconds).toBe(30);
    expect(parse('--headless', '--seconds', '2.5').seconds).toBe(2.5);
  });

  test('zero is a rate', () => {
    expect(parse('--reads', '0', '--writes=0')).toMatchObject({ reads: 0, writes: 0 });
  });

  test('faults come as a list', () => {
    expect(parse('--faults', 'redis-freeze,redis-kill, app-kill,foreign-write').faults).toEqual([
      'redis-freeze',
      'redis-kill',
      'app-kill',
      'foreign-write',
    ]);
  });

  test('faults of MongoDB’s replica set come with --store mongo, in either order', () => {
    const faults = ['mongo-stepdown', 'mongo-kill'];
    expect(parse('--faults', faults.join(','), '--store', 'mongo').faults).toEqual(faults);
    expect(parse('--store=mongo', '--faults', 'redis-kill,mongo-kill').faults).toHaveLength(2);
  });

  test('the separator of a package manager is passed over', () => {
    expect(parse('--', '--headless').headless).toBe(true);
  });

  test.each([
    [['--port', '70000'], '--port', 'from 0 to 65535'],
    [['--reads', '-1'], '--reads', 'from 0'],
    [['--reads', 'many'], '--reads', 'a number'],
    [['--products', '1.5'], '--products', 'whole number'],
    [['--processes', ''], '--processes', 'from 1 to 16'],
    [['--mix', 'cluster99'], '--mix', 'no operations'],
    [['--mix', 'cluster5'], '--mix', 'no operations'],
    [['--mix', 'salad'], '--mix', 'known are'],
    [['--faults', 'redis-melt'], '--faults', '"redis-melt"'],
    [['--faults', 'redis-kill,mongo-kill'], '--faults: mongo-kill', '--store mongo'],
    [['--store', 'postgres', '--faults', 'mongo-stepdown'], '--faults: mongo-stepdown', '--store mongo'],
    [['--engine', 'magic'], '--engine', 'lockstep, naive'],
    [['--store', 'tape'], '--store', 'postgres, mongo'],
    [['--trace', '/nowhere/at.all'], '--trace', 'no such file'],
    [['--trace', import.meta.filename, '--mix', 'cluster1'], '--trace', '--mix'],
    [['--json', '/nowhere/at/all.json'], '--json', 'folder'],
    [['--sedonds', '3'], '--sedonds', 'unknown option'],
    [['--seconds'], '--seconds', 'argument missing'],
    [['extra'], 'extra', 'too many arguments'],
  ])('%j is refused by name, in one line', (argv, name, why) => {
    const { message, exitCode } = refusal(...argv);
    expect(exitCode).toBe(2);
    expect(message).toContain(name);
    expect(message).toContain(why);
    expect(message).not.toContain('\n');
  });
});
