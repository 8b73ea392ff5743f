/**
 * Operators that no `search_path` decides on. In a session whose path has a schema that others may create
 * in, an operator of theirs for exactly these types (`varchar = varchar`, a domain's) would come before the
 * catalogue's, and run as whoever sends the statement. All have one precedence, so each is in parentheses.
 */
export function operator(left: string, symbol: string, right: string, schema = 'pg_catalog'): string {
  return `(${left} OPERATOR(${schema}.${symbol}) ${right})`;
}

export const equal = (left: string, right: string): string => operator(left, '=', right);
export const atLeast = (left: string, right: string): string => operator(left, '>=', right);
export const atMost = (left: string, right: string): string => operator(left, '<=', right);
export const below = (left: string, right: string): string => operator(left, '<', right);
export const plus = (left: string, right: string): string => operator(left, '+', right);
export const minus = (left: string, right: string): string => operator(left, '-', right);
export const times = (left: string, right: string): string => operator(left, '*', right);
export const over = (left: string, right: string): string => operator(left, '/', right);
export const modulo = (left: string, right: string): string => operator(left, '%', right);
export const bitOr = (left: string, right: string): string => operator(left, '|', right);
export const bitAnd = (left: string, right: string): string => operator(left, '&', right);
/** `left` is one of the array's elements. */
export const isIn = (left: string, array: string): string =>
  `(${left} OPERATOR(pg_catalog.=) ANY (${array}))`;
