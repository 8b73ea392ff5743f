import tab from '@bomb.sh/tab/commander';
import type { Command } from 'commander';

/** In the script for bash: it may be read twice, and the typed words are words, no commands. */
const MENDED: readonly (readonly [RegExp, string])[] = [
  [/^readonly (ShellComp)/gm, '$1'],
  [/complete -- (\$\{words\[@\]:1\})"/, 'complete --$(printf \' %q\' "$1")"'],
  // An empty one is among them.
  [/ +# Add an empty parameter[\s\S]*?\n +fi\n/, ''],
];

/** Adds `completion SHELL`, which prints a script, and what that script asks. */
export function addCompletion(root: Command): void {
  tab(root, { completionCommandName: 'completion' });
  const command = root.commands.find((each) => each.name() === 'completion');
  command
    ?.description('prints what completes commands and flags in a shell')
    .hook('preAction', (_, { args }) => {
      if (args[0] !== 'bash') return;
      const { log } = console;
      console.log = (script: string) => {
        let text = script;
        for (const [from, to] of MENDED) text = text.replace(from, to);
        log(text);
      };
    });
}
