import type { Dependency } from '../contracts/views.js';
import { InvalidOptionError } from '../errors.js';
import { RowsDependency } from '../views/dependency.js';
import type { CallContext } from './call-context.js';
import { CollectionLookups } from './lookups.js';

/** The calls of a collection that name its rows to views, beside those that find and read them. */
export class CollectionDependencies<Value, Id> extends CollectionLookups<Value, Id> {
  readonly #context: CallContext<Value, Id>;

  constructor(context: CallContext<Value, Id>) {
    super(context);
    this.#context = context;
  }

  any(): Dependency {
    return new RowsDependency(this.#context, 'any()', (tags) => tags.any);
  }

  id(id: Id): Dependency {
    return new RowsDependency(this.#context, 'id(…)', (tags) => tags.row(this.#context.checks.key(id)));
  }

  where(values: Partial<Value>): RowsDependency {
    if (typeof values !== 'object' && typeof values !== 'function') {
      throw new InvalidOptionError(`${this.#context.settings.name}.where`, 'must be an object of properties');
    }
    const { tags } = this.#context;
    const set = tags?.setOf(values);
    return new RowsDependency(this.#context, set?.description ?? 'where()', (own) =>
      own.where(set as NonNullable<typeof set>, values),
    );
  }
}
