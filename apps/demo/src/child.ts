/** How long a process that was asked to end may take, in ms. */
const GRACE_MS = 3_000;

/**
 * Ties this process to its supervisor: it ends at once when the IPC channel does, however the other end went.
 * Ctrl-C, which a terminal sends to all processes, is left to the supervisor; SIGTERM ends this one in order.
 */
export function endWithParent(stop: () => Promise<void>): void {
  process.on('disconnect', () => process.exit(0));
  process.on('SIGINT', () => undefined);
  process.once('SIGTERM', () => {
    setTimeout(() => process.exit(1), GRACE_MS);
    void stop().then(
      () => process.exit(0),
      () => process.exit(1),
    );
  });
}
