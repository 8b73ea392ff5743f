import type { ChangeListener } from '@lockstep/core';

/** A listener that keeps what it was told. */
export function listening() {
  const told: string[] = [];
  let losses = 0;
  const listener: ChangeListener = {
    changed: (key) => void told.push(key),
    lost: () => {
      losses++;
    },
  };
  return { listener, told, lost: () => losses };
}
