import type { Choices } from '../choices.js';
import { usesMongo, usesPostgres } from '../packages.js';

/** A collection of the example, in the words of the files that are written. */
export interface Entity {
  readonly collection: string;
  readonly type: string;
  readonly idType: 'number' | 'string';
  readonly fields: readonly string[];
  /** A row, as an expression, and the text of its id. */
  readonly sample: string;
  readonly sampleId: string;
  /** A field that is counted. */
  readonly counted: string;
  readonly where: 'postgres' | 'mongo' | 'memory';
}

const PRODUCT = {
  collection: 'products',
  type: 'Product',
  idType: 'number',
  fields: ['id: number', 'name: string', 'stock: number'],
  sample: "{ id: 1, name: 'Lamp', stock: 7 }",
  sampleId: '1',
  counted: 'stock',
} as const;

const REVIEW = {
  collection: 'reviews',
  type: 'Review',
  idType: 'string',
  fields: ['_id: string', 'text: string', 'votes: number'],
  sample: "{ _id: 'r1', text: 'Bright', votes: 7 }",
  sampleId: "'r1'",
  counted: 'votes',
} as const;

/** The collections of the example; the first is what its application serves. */
export function entitiesOf(choices: Choices): readonly [Entity, ...Entity[]] {
  const reviews: Entity = { ...REVIEW, where: 'mongo' };
  if (choices.store === 'memory') return [{ ...PRODUCT, where: 'memory' }];
  if (!usesPostgres(choices)) return [reviews];
  const products: Entity = { ...PRODUCT, where: 'postgres' };
  return usesMongo(choices) ? [products, reviews] : [products];
}
