import tab from '@bomb.sh/tab/commander';
import type { Argument, Command, Option } from 'commander';

/** In the script for bash: it may be read twice, and the typed words are words, no commands. */
const MENDED: readonly (readonly [RegExp, string])[] = [
  [/^readonly (ShellComp)/gm, '$1'],
  [/complete -- (\$\{words\[@\]:1\})"/, 'complete --$(printf \' %q\' "$1")"'],
  // An empty one is among them.
  [/ +# Add an empty parameter[\s\S]*?\n +fi\n/, ''],
  // Names of files, where nothing else is completed and the answer does not forbid it.
  [/^complete -F/m, 'complete -o default -F'],
];

/** The end of an answer: no names of files, or those as well. */
const NO_FILES = ':4';
const FILES = ':0';
const NAMES_FILE = /^(?:file|folder)$/;

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
  const asked = root.commands.find((each) => each.name() === 'complete');
  asked?.hook('preAction', (_, { args }) => {
    if (!takesFile(root, args)) return;
    const { log } = console;
    console.log = (line: string) => log(line === NO_FILES ? FILES : line);
  });
}

/** Whether the last of the words is, or will be, a file's name. */
export function takesFile(root: Command, words: readonly string[]): boolean {
  const path = [root];
  let value: Option | undefined;
  let position = 0;
  for (const word of words.slice(0, -1)) {
    const [command] = path as [Command];
    if (value !== undefined) {
      value = undefined;
    } else if (word.startsWith('-')) {
      const option = path
        .flatMap(({ options }) => options)
        .find((each) => each.long === word || each.short === word);
      if (option?.required) value = option;
    } else {
      const next = command.commands.find((each) => each.name() === word || each.aliases().includes(word));
      if (next === undefined) position++;
      else path.unshift(next);
    }
  }
  if (value !== undefined) return NAMES_FILE.test(valueName(value));
  const { registeredArguments } = path[0] as Command;
  const last: Argument | undefined = registeredArguments.at(-1);
  const argument = registeredArguments[position] ?? (last?.variadic ? last : undefined);
  return argument !== undefined && NAMES_FILE.test(argument.name());
}

function valueName({ flags }: Option): string {
  return /[<[](\S+?)(?:\.\.\.)?[>\]]/.exec(flags)?.[1] ?? '';
}
