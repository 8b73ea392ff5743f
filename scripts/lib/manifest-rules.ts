import type { Manifest } from './repository.ts';

const ALLOWED_FILES = /^(package\.json|README\.md|LICENSE|CHANGELOG\.md|(dist|src|grafana|prometheus)\/.+)$/;
const REQUIRED_FILES = ['package.json', 'README.md', 'LICENSE'];

/** What is wrong with the files of a packed package. */
export function wrongFiles(files: readonly string[]): string[] {
  return [
    ...files.filter((file) => !ALLOWED_FILES.test(file)).map((file) => `holds ${file}`),
    ...REQUIRED_FILES.filter((file) => !files.includes(file)).map((file) => `lacks ${file}`),
    ...files.filter((file) => file.endsWith('.tsbuildinfo')).map((file) => `holds ${file}`),
  ];
}

/** What is wrong with a packed package.json: users must get fixes of what we depend on without our release. */
export function wrongRanges(manifest: Manifest): string[] {
  const { dependencies = {}, peerDependencies = {}, optionalDependencies = {} } = manifest;
  const ranges = { dependencies, peerDependencies, optionalDependencies };
  return Object.entries(ranges).flatMap(([field, entries]) =>
    Object.entries(entries)
      .filter(([, range]) => !/^\^\d/.test(range))
      .map(([name, range]) => `${field}.${name} is "${range}", not a ^ range`),
  );
}
