import { type Product, product } from '../bursts/product.js';

/** A product's bytes as JSON without its text, about. */
const REST_BYTES = 130;
/** As many different texts as a table has. */
export const TEXTS = 16;

const WORDS =
  'a the of with for and red blue light warm soft wool cotton linen steel wood glass leather small large round flat made washed woven knitted polished kitchen garden winter summer travel office evening morning simple durable classic modern handle pocket button collar sleeve cushion blanket lamp kettle basket bottle shelf carpet curtain mirror drawer cable socket filter brush soap candle'.split(
    ' ',
  );

/** Words in no order that repeats soon, so that what compresses them gains what it gains on other texts. */
function textOf(seed: number, bytes: number): string {
  const words: string[] = [];
  let state = seed + 1;
  for (let length = 0; length < bytes; ) {
    state = (state * 48_271) % 2_147_483_647;
    const word = WORDS[state % WORDS.length] as string;
    words.push(word);
    length += word.length + 1;
  }
  return words.join(' ').slice(0, bytes);
}

const known = new Map<number, readonly string[]>();

/** The texts of a table whose rows have about so many bytes as JSON. */
export function textsOf(valueBytes: number): readonly string[] {
  const found = known.get(valueBytes);
  if (found !== undefined) return found;
  const bytes = Math.max(1, valueBytes - REST_BYTES);
  const texts = Array.from({ length: TEXTS }, (_, seed) => textOf(seed, bytes));
  known.set(valueBytes, texts);
  return texts;
}

/** The n-th row of a table of any length. */
export function rowOf(n: number, valueBytes: number): Product {
  const { attributes, ...row } = product(n);
  const text = textsOf(valueBytes)[n % TEXTS] as string;
  return { ...row, id: String(n), attributes: { ...attributes, text } };
}
