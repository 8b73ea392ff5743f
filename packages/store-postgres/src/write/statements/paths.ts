import { below, equal, operator } from '../../sql/operators.js';
import { literal } from '../../sql/quote.js';

const INDEX = /^(?:0|[1-9]\d{0,8})$/;

/** Keeps the planner from putting the expression wherever its name is: each path would double the statement several times. */
const ONCE = ' OFFSET 0';

const LEADS_NOWHERE = /"lockstep: (.* leads nowhere: .*)"$/s;

/**
 * A document with something set in it: `target` and `value` are jsonb; `path` begins with the property. Where there is nothing, or null, a document is
 * made; a number is the place of an element that an array has. A path through anything else fails the statement.
 */
export function withPath(target: string, path: string, value: string): string {
  const [, ...parts] = path.split('.');
  return within(target, parts, `coalesce(${value}, 'null'::pg_catalog.jsonb)`, path);
}

/** What a statement said that met a path through something that holds no such part; `undefined` of any other message. */
export function leadsNowhereIn(message: string): string | undefined {
  return LEADS_NOWHERE.exec(message)?.[1];
}

function within(
  target: string,
  [part = '', ...rest]: readonly string[],
  value: string,
  path: string,
): string {
  const name = literal(part);
  const isDocument = isOf('d', 'object');
  const index = INDEX.test(part) ? `${part}::pg_catalog.int4` : undefined;
  const isElement = index && `${isOf('d', 'array')} AND ${below(index, 'pg_catalog.jsonb_array_length(d)')}`;
  const element = (what: string): string =>
    isElement === undefined ? '' : ` WHEN ${isElement} THEN ${what}`;
  const inner = `CASE WHEN ${isDocument} THEN ${operator('d', '->', `${name}::pg_catalog.text`)}${element(operator('d', '->', index ?? ''))} END`;
  const set = `CASE WHEN ${isDocument} THEN ${operator('d', '||', `pg_catalog.jsonb_build_object(${name}::pg_catalog.text, n)`)}${element(`pg_catalog.jsonb_set(d, ARRAY[${name}::pg_catalog.text], n)`)} ELSE ${leadsNowhere(path, part)} END`;
  const changed = rest.length === 0 ? value : within('c', rest, value, path);
  return `(SELECT ${set} FROM (SELECT d, ${changed} AS n FROM (SELECT d, ${inner} AS c FROM (SELECT ${documentOf('e')} AS d FROM (SELECT ${target} AS e${ONCE}) e${ONCE}) d${ONCE}) c${ONCE}) n)`;
}

function documentOf(value: string): string {
  return `CASE WHEN ${value} IS NULL OR ${isOf(value, 'null')} THEN '{}'::pg_catalog.jsonb ELSE ${value} END`;
}

function isOf(value: string, type: string): string {
  return equal(`pg_catalog.jsonb_typeof(${value})`, literal(type));
}

/** Fails when it is evaluated, with what it says. */
function leadsNowhere(path: string, part: string): string {
  const text = literal(`lockstep: "${path}" leads nowhere: there is no "${part}" in a value of type `);
  return `pg_catalog.to_jsonb(pg_catalog.concat(${text}, pg_catalog.jsonb_typeof(d))::pg_catalog.int4)`;
}
