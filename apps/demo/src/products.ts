import { type Random, randomChoice, randomInt } from '@lockstep/torture';

/** A product as the table holds it, apart from its version. */
export interface Product {
  readonly id: number;
  readonly name: string;
  readonly category: string;
  /** In cents. */
  readonly price: number;
  /** Pieces; orders may take it below zero until the next delivery. */
  readonly stock: number;
  readonly description: string;
}

/** The properties that a change may set. */
export type ProductChange = Partial<Omit<Product, 'id'>>;

export const MAX_TEXT_LENGTH = 200;
export const MAX_PRICE = 100_000_000;
export const MAX_STOCK = 1_000_000_000;
export const MAX_ID = 2_147_483_647;

/** What somebody says of a product. */
export interface Review {
  readonly id: number;
  /** The product's id. */
  readonly product: number;
  /** 1 to 5. */
  readonly stars: number;
  readonly text: string;
}

/** Reviews there are at the most; products up to this id have some. */
export const MAX_REVIEWS = 20;
const REVIEWED = 5;

const MATERIALS = ['Oak', 'Linen', 'Copper', 'Glass', 'Wool', 'Steel', 'Cork', 'Clay', 'Paper', 'Slate'];
const MANNERS = ['quiet', 'tall', 'small', 'folding', 'round', 'striped', 'plain', 'double', 'soft', 'heavy'];
const THINGS: readonly (readonly [string, string])[] = [
  ['lamp', 'Lighting'],
  ['lantern', 'Lighting'],
  ['kettle', 'Kitchen'],
  ['bowl', 'Kitchen'],
  ['chair', 'Furniture'],
  ['shelf', 'Furniture'],
  ['blanket', 'Textiles'],
  ['curtain', 'Textiles'],
  ['notebook', 'Stationery'],
  ['pencil case', 'Stationery'],
  ['planter', 'Garden'],
  ['watering can', 'Garden'],
];

/** Every category, as its list is asked for. */
export const CATEGORIES: readonly string[] = [...new Set(THINGS.map(([, category]) => category))];

const OPINIONS = [
  'Just as shown.',
  'Smaller than I thought.',
  'A present; she liked it.',
  'Would buy it again.',
];

/** A review of one of the first products, of which that many are there. */
export function makeReview(random: Random, products: number): Review {
  return {
    id: randomInt(random, 1, MAX_REVIEWS),
    product: randomInt(random, 1, Math.min(REVIEWED, products)),
    stars: randomInt(random, 1, 5),
    text: randomChoice(random, OPINIONS),
  };
}

/** A whole product. `valueBytes` is the size of its description; 0: a sentence. */
export function makeProduct(id: number, random: Random, valueBytes = 0): Product {
  const material = randomChoice(random, MATERIALS);
  const manner = randomChoice(random, MANNERS);
  const [thing, category] = randomChoice(random, THINGS);
  return {
    id,
    name: `${material} ${thing}, ${manner}`,
    category,
    price: randomInt(random, 200, 50_000),
    stock: randomInt(random, 0, 500),
    description: describe(`A ${manner} ${thing} made of ${material.toLowerCase()}. `, valueBytes),
  };
}

/** A change such as a shopkeeper makes: a price, sometimes the text as well. */
export function makeChange(random: Random, valueBytes = 0): ProductChange {
  const price = randomInt(random, 200, 50_000);
  if (valueBytes === 0) return { price };
  return { price, description: describe(`Now at ${price} cents. `, valueBytes) };
}

function describe(sentence: string, bytes: number): string {
  if (bytes === 0) return sentence.trim();
  return sentence.repeat(Math.ceil(bytes / sentence.length)).slice(0, bytes);
}
