/** Words before a parenthesis that are syntax. `in` and `using` are not among them: they look `=` up. */
const SYNTAX = new Set(
  `values and or not on as when then else exists any array coalesce greatest least from key select where set by unique
   operator returning conflict materialized lateral update with check default case if elsif nullif return
   autovacuum_vacuum_scale_factor cache identity include union all only into foreach row filter over`.split(
    /\s+/,
  ),
);

const TOKEN =
  /\s+|--[^\n]*|E?'(?:[^'\\]|''|\\.)*'|"(?:[^"]|"")*"|\$[a-z_]*\$|\$\d+|[A-Za-z_][A-Za-z0-9_#]*|\d+(?:\.\d+)?(?:e\d+)?|::|:=|[-+*/<>=~!@%^&|?]+|./gi;

/**
 * What in a statement is looked up by the session's `search_path`: functions, types after `::`, operators. It
 * knows the statements of this package, not all of SQL.
 */
export function unqualified(sql: string, allow: { readonly operators?: boolean } = {}): string[] {
  const tokens = [...sql.matchAll(TOKEN)]
    .map(([token]) => token)
    .filter((token) => !/^(?:\s|--)/.test(token));
  const found: string[] = [];
  const show = (at: number): string => `${tokens.slice(Math.max(0, at - 4), at + 4).join(' ')}`;
  tokens.forEach((token, at) => {
    const before = (tokens[at - 1] ?? '').toLowerCase();
    const after = tokens[at + 1] ?? '';
    if (token === '::' && tokens[at + 2] !== '.') found.push(`::${after} in ${show(at)}`);
    if (allow.operators === true && /^in$/i.test(token)) return;
    if (
      /^[a-z_]/i.test(token) &&
      after === '(' &&
      before !== '.' &&
      before !== 'as' &&
      !isAlias(tokens, at)
    ) {
      if (!SYNTAX.has(token.toLowerCase()))
        found.push(`${token} ( in ${show(at)}`.replace(' (', /^(?:in|using)$/i.test(token) ? ' (' : '('));
    }
    if (allow.operators !== true && /^[-+*/<>=~!@%^&|?]+$/.test(token) && !isSyntax(tokens, at)) {
      found.push(`${token} in ${show(at)}`);
    }
  });
  return found;
}

/** `INSERT INTO "s"."t" AS t (…)` and `lockstep.outbox o (…)` name columns. */
function isAlias(tokens: readonly string[], at: number): boolean {
  return (tokens[at - 2] ?? '').toLowerCase() === 'as';
}

/** An operator's sign that is none: inside OPERATOR(), an assignment of SET, a star, a negative number. */
function isSyntax(tokens: readonly string[], at: number): boolean {
  const token = tokens[at];
  const before = (tokens[at - 1] ?? '').toLowerCase();
  if (before === '.' && tokens[at - 3] === '(' && tokens[at - 4] === 'OPERATOR') return true;
  if (token === '*') return before === 'select' || before === '.' || before === '(';
  if (token === '-') return /^[(,]$/.test(before) && /^\d/.test(tokens[at + 1] ?? '');
  if (token !== '=') return false;
  // An assignment: after SET, or after the comma that ends another one.
  let depth = 0;
  for (let i = at - 1; i >= 0; i--) {
    const each = (tokens[i] ?? '').toLowerCase();
    if (each === ')') depth++;
    else if (each === '(') depth--;
    if (depth < 0) return false;
    if (depth > 0) continue;
    if (each === 'set') return true;
    if (/^(?:where|from|on|and|or|select|returning|when)$/.test(each)) return false;
  }
  return false;
}
