import type { Knex } from 'knex';
import type { Run } from './catalog.js';

/** Statements with `$1` parameters, past knex's own reading of question marks. */
export function runOn(knex: Knex): Run {
  return async (sql, values) => {
    const bound: unknown[] = [];
    const escaped = sql
      .replaceAll('?', '\\?')
      .replace(values === undefined ? /$^/ : /\$(\d+)/g, (_, number: string) => {
        bound.push(values?.[Number(number) - 1]);
        return '?';
      });
    try {
      const answer = await knex.raw<{ rows: Record<string, unknown>[] }>(escaped, bound as Knex.RawBinding[]);
      return answer.rows;
    } catch (error) {
      // knex puts the statement in front of what the server says.
      const statement = `${sql} - `;
      if (error instanceof Error && error.message.startsWith(statement)) {
        error.message = error.message.slice(statement.length);
      }
      throw error;
    }
  };
}
