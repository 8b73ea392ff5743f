import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { must } from './execute.ts';
import { type Manifest, publicPackages, readJson, type WorkspacePackage } from './repository.ts';

export interface PackedPackage extends WorkspacePackage {
  readonly tarball: string;
  /** Where it is unpacked. */
  readonly unpacked: string;
  /** Its files, relative. */
  readonly files: readonly string[];
  /** The package.json in the tarball. */
  readonly packed: Manifest;
}

/** Packs a built package with pnpm, as a release does, and unpacks it beside. */
async function pack(source: WorkspacePackage, folder: string): Promise<PackedPackage> {
  const destination = join(folder, source.folder.replaceAll('/', '-'));
  mkdirSync(destination);
  await must('pnpm', ['pack', '--pack-destination', destination], { cwd: source.path });
  const name = readdirSync(destination).find((file) => file.endsWith('.tgz'));
  if (name === undefined) throw new Error(`pnpm pack made no tarball of ${source.folder}`);
  const tarball = join(destination, name);
  await must('tar', ['-xzf', tarball, '-C', destination]);
  const unpacked = join(destination, 'package');
  const files = readdirSync(unpacked, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(unpacked.length + 1))
    .sort();
  return { ...source, tarball, unpacked, files, packed: readJson<Manifest>(join(unpacked, 'package.json')) };
}

export function packAll(folder: string): Promise<PackedPackage[]> {
  return Promise.all(publicPackages().map((source) => pack(source, folder)));
}
