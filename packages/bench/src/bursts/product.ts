/** A row of a shop's catalogue, about 250 bytes as JSON. */
export interface Product {
  readonly id: string;
  readonly name: string;
  readonly stock: number;
  readonly price: number;
  readonly attributes: { readonly colour: string; readonly sizes: readonly number[]; readonly text: string };
}

export const PRODUCTS = 10_000;

export function product(n: number): Product {
  return {
    id: String(n % PRODUCTS),
    name: `Product ${n}`,
    stock: n % 100,
    price: (n % 10_000) / 4,
    attributes: { colour: 'red', sizes: [36, 38, 40 + (n % 5)], text: 'a catalogue text '.repeat(8) },
  };
}
