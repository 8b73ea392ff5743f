/** What `--help` of each command ends with: lines that can be typed as they are. */
export const EXAMPLES: Readonly<Record<string, readonly string[]>> = {
  init: ['lockstep init', 'lockstep init shop --store postgres --cache redis --queue bullmq --yes'],
  status: ['lockstep status', 'lockstep --json status', 'lockstep status --watch'],
  doctor: ['lockstep doctor'],
  inspect: ['lockstep inspect products 42', `lockstep inspect labels '["acme","colour"]' --values`],
  verify: ['lockstep verify', 'lockstep verify products --per-second 500 --repair'],
  warm: ['lockstep warm products ids.txt', 'psql -Atc "SELECT id FROM products" | lockstep warm products -'],
  invalidate: ['lockstep invalidate products 42 43', 'lockstep invalidate products --all --yes'],
  off: ['lockstep off'],
  on: ['lockstep on'],
  'dead-letters': ['lockstep dead-letters --limit 10'],
  replay: ['lockstep replay 17 18', 'lockstep replay --all --yes'],
  discard: ['lockstep discard 17', 'lockstep discard --all --yes'],
  attach: ['lockstep attach --check', 'lockstep attach --grant-to app worker'],
  detach: ['lockstep detach products --yes'],
  migrate: ['lockstep migrate print > attach.sql'],
  print: [
    'lockstep migrate print > attach.sql',
    'lockstep migrate print --format prisma --out prisma/migrations',
    'lockstep migrate print --format drizzle --out drizzle',
    'lockstep migrate print --format knex --out migrations',
  ],
  worker: ['lockstep worker', 'lockstep worker --check'],
  completion: [
    'source <(npx lockstep completion bash)   # in ~/.bashrc; zsh: the same in ~/.zshrc',
    'npx lockstep completion fish | source    # in ~/.config/fish/config.fish',
  ],
};
