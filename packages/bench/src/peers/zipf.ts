/**
 * Keys from 0 to `count - 1` by Zipf's law, the n-th draw of a fixed sequence: key k is drawn in proportion to
 * 1 / (k + 1)^skew. By the inverse of the summed weights; the uniform numbers are Weyl's sequence of the golden ratio.
 */
export function zipf(count: number, skew: number): (n: number) => number {
  const sums = new Float64Array(count);
  let total = 0;
  for (let k = 0; k < count; k++) {
    total += (k + 1) ** -skew;
    sums[k] = total;
  }
  return (n) => {
    const wanted = ((n * 0.618_033_988_749_894_9) % 1) * total;
    let low = 0;
    let high = count - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((sums[middle] as number) < wanted) low = middle + 1;
      else high = middle;
    }
    // Neighbours in popularity are no neighbours in the table.
    return (low * 7_919) % count;
  };
}
