interface Group {
  readonly label: string;
  readonly items: readonly string[];
}

/** The order in which people read. Every page has a place: {@link sidebar} fails for one that has none. */
const GROUPS: readonly Group[] = [
  { label: 'Start', items: ['start', 'write-through', 'strategies', 'api', 'recipes'] },
  { label: 'Guides', items: ['consistency', 'views', 'durability', 'failures', 'testing', 'scaling'] },
  {
    label: 'In production',
    items: ['operations', 'cli', 'deployments', 'security', 'performance', 'benchmarks', 'configuration'],
  },
  {
    label: 'Coming from another cache',
    items: ['comparison', 'migration/by-hand', 'migration/bentocache', 'migration/cache-manager'],
  },
  { label: 'How it works', items: ['architecture', 'protocol', 'bugs', 'contributing'] },
];

export function sidebar(addresses: readonly string[]) {
  const under = (folder: string) => addresses.filter((address) => address.startsWith(`${folder}/`));
  const groups = [
    ...GROUPS,
    { label: 'Errors', items: under('errors') },
    { label: 'Packages', items: [...under('packages'), ...under('apps')] },
  ];
  const listed = new Set(groups.flatMap(({ items }) => items));
  for (const address of addresses) {
    if (!listed.has(address)) throw new Error(`site/sidebar.ts has no place for ${address}`);
  }
  for (const item of listed) {
    if (!addresses.includes(item)) throw new Error(`site/sidebar.ts lists ${item}: no such page`);
  }
  return groups.map(({ items, label }) => ({
    label,
    collapsed: label === 'Errors' || label === 'Packages',
    items: items.map((slug) =>
      slug.startsWith('packages/') || slug.startsWith('apps/')
        ? { slug, label: slug.replace(/^.*\//, '') }
        : { slug },
    ),
  }));
}
