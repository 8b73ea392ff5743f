export type ColumnKind = 'json' | 'bytea' | 'timestamp' | 'date' | 'number' | 'text' | 'composite' | 'other';

export function kindOf(typeId: string, category: string): ColumnKind {
  switch (typeId) {
    case 'pg_catalog.json':
    case 'pg_catalog.jsonb':
      return 'json';
    case 'pg_catalog.bytea':
      return 'bytea';
    case 'pg_catalog.timestamp':
    case 'pg_catalog.timestamptz':
      return 'timestamp';
    case 'pg_catalog.date':
      return 'date';
    default:
      return category === 'N' ? 'number' : category === 'S' ? 'text' : 'other';
  }
}
