declare module 'cluster-key-slot' {
  /** The slot of a key, its hash tag considered. */
  export default function slotOf(key: string): number;
}
