/** Quotes an identifier, so that case and odd characters survive. */
export function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** Quotes a text literal; right whatever `standard_conforming_strings` says. */
export function literal(text: string): string {
  const quoted = `'${text.replaceAll("'", "''")}'`;
  return text.includes('\\') ? `E${quoted.replaceAll('\\', '\\\\')}` : quoted;
}

/** The text form of a one-dimensional array parameter. */
export function arrayText(items: readonly (string | number)[]): string {
  let text = '{';
  for (let index = 0; index < items.length; index++) {
    const item = String(items[index]);
    const escaped = item.includes('"') || item.includes('\\') ? item.replace(/["\\]/g, '\\$&') : item;
    text += `${index === 0 ? '' : ','}"${escaped}"`;
  }
  return `${text}}`;
}
