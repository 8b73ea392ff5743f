import type { RowCarrier } from '../contracts/rows.js';
import type { Serializer } from '../contracts/serializer.js';

/** A serializer of rows as their store's carrier packs them. */
export function carrying<Value>(serializer: Serializer, carrier: RowCarrier<Value> | undefined): Serializer {
  if (carrier === undefined) return serializer;
  const { encoding, measure, name } = serializer;
  const pack = (value: unknown): unknown => carrier.pack(value as Value);
  return {
    name,
    encoding,
    serialize: (value) => serializer.serialize(pack(value)),
    ...(measure === undefined ? {} : { measure: (value) => measured(value) }),
    deserialize: (payload) => carrier.unpack(serializer.deserialize(payload)),
  };

  /** Most rows are as long packed as they are, and packing them costs as much as measuring. */
  function measured(value: unknown): number {
    try {
      return measure?.call(serializer, value) ?? 0;
    } catch {
      return measure?.call(serializer, pack(value)) ?? 0;
    }
  }
}
