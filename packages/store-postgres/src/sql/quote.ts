/** Quotes an identifier, so that case and odd characters survive. */
export function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** Quotes a text literal; right whatever `standard_conforming_strings` says. */
export function literal(text: string): string {
  const quoted = `'${text.replaceAll("'", "''")}'`;
  return text.includes('\\') ? `E${quoted.replaceAll('\\', '\\\\')}` : quoted;
}

/** A body of statements in dollar quotes, whose tag is nowhere in it: names of tables and columns may hold any text. */
export function dollarQuoted(body: string, tag = 'lockstep'): string {
  const free = body.includes(`$${tag}$`) ? `${tag}_` : tag;
  return free === tag ? `$${tag}$${body}$${tag}$` : dollarQuoted(body, free);
}
