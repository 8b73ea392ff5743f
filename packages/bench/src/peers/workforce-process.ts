/** A process of the workforce: opens all sides, then does what its parent asks for until that lets go of it. */
import { turn } from '../bursts/turn.js';
import { rowOf } from './row.js';
import type { Side } from './side.js';
import { DATABASES, openSide } from './sides.js';
import type { Done, Hired, Task } from './workforce.js';

const { names, place, products, valueBytes } = JSON.parse(process.argv[2] ?? '{}') as Hired;
const database = DATABASES[place.store](place.storeUrl);
const sides = new Map<string, Side>();
for (const name of names) {
  const side = await openSide(database, place, name);
  sides.set(name, side);
  await side.get('0');
}

async function perform(task: Task): Promise<Done> {
  const side = sides.get(task.side) as Side;
  side.takeLoads();
  if (task.kind === 'rush') {
    const startedAt = performance.now();
    const rows = await Promise.all(Array.from({ length: task.readers }, () => side.get(task.id)));
    const ms = performance.now() - startedAt;
    if (rows.some((row) => row?.id !== task.id))
      throw new Error(`${task.side}: a reader got another row, or none`);
    return { ms, perSecond: (1_000 * task.readers) / ms, loads: side.takeLoads() };
  }
  const { callers, from, kind, ms } = task;
  const keyOf = (n: number): number => ((from + n) * 7_919) % products;
  const { perSecond } = await turn(callers, { ms }, (n) =>
    kind === 'get' ? side.get(String(keyOf(n))) : side.put({ ...rowOf(keyOf(n), valueBytes), stock: n }),
  );
  return { ms, perSecond, loads: side.takeLoads() };
}

function answer(message: Done | { readonly error: string } | 'open'): void {
  // The parent may have let go of this process while it worked.
  if (process.connected) process.send?.(message);
}

process.on('message', (task: Task) => {
  perform(task).then(answer, (error: unknown) => answer({ error: String(error) }));
});
process.once('disconnect', () => {
  void Promise.all([...sides.values()].map((side) => side.close()))
    .then(() => database.close())
    .finally(() => process.exit());
});
answer('open');
