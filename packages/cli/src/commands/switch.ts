import { Command } from 'commander';
import { OK, withSession } from '../session.js';

function switchCommand(enabled: boolean, description: string): Command {
  const name = enabled ? 'on' : 'off';
  return new Command(name).description(description).action(async (_: object, command: Command) => {
    await withSession(command, async ({ ask, lockstep, result }) => {
      const sources = await ask('the store', enabled ? lockstep.switchOn() : lockstep.switchOff());
      result({ enabled, sources }, [`${name}: ${sources.join(', ')}`]);
      return OK;
    });
  });
}

export const switchCommands = [
  () => switchCommand(false, 'switches the cache off for all processes: every read goes to the store'),
  () => switchCommand(true, 'switches the cache on again, for all processes'),
];
