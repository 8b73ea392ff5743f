import { inspect, isDeepStrictEqual } from 'node:util';
import type { StandardSchemaV1 } from '@standard-schema/spec';
import { InvalidOptionError, ValidationError } from '../errors.js';
import { copyOf } from './copy.js';

/** The outcome of a check. */
type Checked<Value> = { readonly ok: true; readonly value: Value } | typeof MISMATCH;

const MISMATCH = { ok: false, reason: 'schema' } as const;

/** The first values that a schema takes are shown to it twice, and some of the later ones. */
const ALWAYS_TWICE = 100;
const TWICE_OF = 64;
const SHORT = { breakLength: Number.POSITIVE_INFINITY, maxArrayLength: 5, maxStringLength: 100 };

/** The schema of a collection, or view: checks what is written, and what comes out of the cache. */
export class Schema<Value> {
  readonly #standard: StandardSchemaV1<unknown, Value>['~standard'];
  readonly #collection: string;
  /** Values that the schema took. */
  #validated = 0;

  /** @param collection the name, for messages */
  constructor(schema: StandardSchemaV1<unknown, Value>, collection: string) {
    this.#standard = schema['~standard'];
    this.#collection = collection;
  }

  /** The value as the schema gives it back, or that the schema refuses it. Never throws, nor rejects. */
  check(value: unknown): Checked<Value> | Promise<Checked<Value>> {
    try {
      const result = this.#standard.validate(value);
      if (!(result instanceof Promise)) return result.issues ? MISMATCH : { ok: true, value: result.value };
      return result.then(
        (late) => (late.issues ? MISMATCH : { ok: true, value: late.value }),
        () => MISMATCH,
      );
    } catch {
      return MISMATCH;
    }
  }

  /** A row as the schema gives it back; as it is where the schema refuses it. Never throws. */
  shown(row: Value): Value | Promise<Value> {
    const checked = this.check(row);
    const shown = (found: Checked<Value>): Value => (found.ok ? found.value : row);
    return checked instanceof Promise ? checked.then(shown) : shown(checked);
  }

  /** The value as the schema gives it back. Throws `ValidationError`, `InvalidOptionError` for a schema that can't be. */
  validate(value: Value, key: string): Value | Promise<Value> {
    const result = this.#standard.validate(value);
    return result instanceof Promise
      ? result.then((late) => this.#stable(this.#accept(late, key), key))
      : this.#stable(this.#accept(result, key), key);
  }

  /** A written value is read through the schema and may be written again: the schema must leave its own output as it is. */
  #stable(valid: Value, key: string): Value | Promise<Value> {
    const count = this.#validated++;
    if (count >= ALWAYS_TWICE && count % TWICE_OF !== 0) return valid;
    const again = this.#standard.validate(copyOf(valid));
    const same = (late: StandardSchemaV1.Result<Value>): Value => {
      if (!late.issues && isDeepStrictEqual(late.value, valid)) return valid;
      this.#validated = 0;
      const what = late.issues
        ? `refuses it (${late.issues[0]?.message})`
        : `makes ${inspect(late.value, SHORT)} of ${inspect(valid, SHORT)}`;
      const problem = `must leave its own output as it is, since rows are read and written again: it ${what}`;
      throw new InvalidOptionError('schema', problem, { collection: this.#collection, key });
    };
    return again instanceof Promise ? again.then(same) : same(again);
  }

  #accept(result: StandardSchemaV1.Result<Value>, key: string): Value {
    if (!result.issues) return result.value;
    const issues = result.issues.map((issue) => ({
      message: issue.message,
      path: (issue.path ?? []).map((part) => String(typeof part === 'object' ? part.key : part)).join('.'),
    }));
    const text = issues
      .map(({ path, message }) => (path === '' ? message : `${path}: ${message}`))
      .join('; ');
    throw new ValidationError(`collection "${this.#collection}", key "${key}": ${text}`, issues, {
      collection: this.#collection,
      key,
    });
  }
}
