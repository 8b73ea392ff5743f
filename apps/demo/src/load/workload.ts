import { type Random, randomInt, seededRandom, shuffledIndexes } from '@lockstep/torture';
import { weightedDraw } from './alias.js';
import type { Mix } from './mix.js';
import type { Operation, OperationKind } from './operation.js';
import type { Trace } from './trace.js';
import { zipfDraw } from './zipf.js';

/** Operations at a steady rate, without an end. */
export interface OperationStream {
  /** The rate of this process. */
  readonly ratePerSecond: number;
  next(nowMs: number): Operation;
}

export interface WorkloadOptions {
  readonly products: number;
  readonly seed: number;
  /** The rate of all processes together. */
  readonly readsPerSecond: number;
  readonly writesPerSecond: number;
  readonly processes: number;
  /** Which process this is, from 0; a restarted one draws on from another place (`life`). */
  readonly process: number;
  readonly life: number;
}

/** How long one product is on sale. */
const SALE_MS = 2_000;

/** Reads and writes drawn from a mix, each at its own rate. Popularity is the same in every process. */
export function mixStreams(mix: Mix, options: WorkloadOptions): OperationStream[] {
  const { products, seed, process, life } = options;
  const popularity = zipfDraw(products, mix.zipfExponent);
  const order = shuffledIndexes(products, seededRandom(seed, 0));
  const writeKinds = [...mix.writes.keys()];
  const drawKind = writeKinds.length === 0 ? undefined : weightedDraw([...mix.writes.values()]);
  const drawTtl = mix.ttls.length === 0 ? undefined : weightedDraw(mix.ttls.map((ttl) => ttl.share));

  let saleTurn = Number.NaN;
  let onSale = 0;

  function indexOf(random: Random, saleShare: number, nowMs: number): number {
    if (saleShare > 0 && random() < saleShare) {
      const turn = Math.floor(nowMs / SALE_MS);
      if (turn !== saleTurn) onSale = saleIndex(seed, products, turn);
      saleTurn = turn;
      return onSale;
    }
    return order[popularity(random)] ?? 0;
  }

  function stream(ratePerSecond: number, number: number, kindOf: (random: Random) => OperationKind) {
    const random = seededRandom(seed, 1 + number + 2 * (process + 1_000 * life));
    return {
      ratePerSecond,
      next(nowMs: number): Operation {
        const kind = kindOf(random);
        const read = kind === 'read';
        return {
          kind,
          index: indexOf(random, read ? mix.saleShare.reads : mix.saleShare.writes, nowMs),
          valueBytes: read ? 0 : mix.valueBytes,
          ttlMs: drawTtl === undefined ? 0 : (mix.ttls[drawTtl(random)]?.ttlMs ?? 0),
        };
      },
    };
  }

  const streams = [stream(options.readsPerSecond / options.processes, 0, () => 'read')];
  if (drawKind !== undefined) {
    const rate = options.writesPerSecond / options.processes;
    streams.push(stream(rate, 1, (random) => writeKinds[drawKind(random)] ?? 'put'));
  }
  return streams.filter((one) => one.ratePerSecond > 0);
}

/** A trace's requests in their order, dealt out to the processes in turn; it starts again at its end. */
export function traceStreams(trace: Trace, options: WorkloadOptions): OperationStream[] {
  const random = seededRandom(options.seed, 1 + options.process + 1_000 * options.life);
  // A restarted process goes on somewhere else, since nobody knows how far it had come.
  let position = options.life === 0 ? options.process : randomInt(random, 0, trace.length - 1);
  return [
    {
      ratePerSecond: (options.readsPerSecond + options.writesPerSecond) / options.processes,
      next() {
        const operation = trace.operation(position, options.products);
        position = (position + options.processes) % (trace.length * options.processes);
        return operation;
      },
    },
  ];
}

/** The product that is on sale: the same in every process, since it follows from seed and time. */
function saleIndex(seed: number, products: number, turn: number): number {
  return Math.floor(seededRandom(seed, 1_000_003 + turn)() * products);
}
