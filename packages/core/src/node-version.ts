/** Imported first, so that an older Node.js says what it lacks instead of failing on a function that it does not know. */
const NEEDED = 22;

if (Number.parseInt(process.versions.node, 10) < NEEDED) {
  throw new Error(`Lockstep needs Node.js ${NEEDED} or later; this is ${process.version}`);
}
