// The entry of an application process: what its supervisor asks over IPC, done by `Application`.

import { endWithParent } from '../child.js';
import { Peer } from '../ipc.js';
import type { ApplicationCalls, ApplicationNews, ApplicationTells, Nothing } from '../messages.js';
import { Application } from './application.js';

const REPORT_MS = 100;

const supervisor = new Peer<Nothing, ApplicationTells, ApplicationCalls, ApplicationNews>(process);
let application: Application | undefined;
const early: ((application: Application) => void)[] = [];

endWithParent(async () => {
  await application?.stop();
});

function running(): Application {
  if (application === undefined) throw new Error('the application has not been started');
  return application;
}

/** News that the checker must not miss is kept for it while the application starts. */
function heard(news: (application: Application) => void): void {
  if (application !== undefined) news(application);
  else early.push(news);
}

function report(): void {
  if (application !== undefined) supervisor.tell('report', application.report());
}

supervisor.answer('start', async (config) => {
  application = await Application.start(config, report);
  for (const news of early.splice(0)) news(application);
  setInterval(report, REPORT_MS);
  return { port: application.port };
});
supervisor.answer('warm', async ({ from, to }) => {
  await running().warm(from, to);
  return null;
});
supervisor.answer('load', (rates) => {
  running().load(rates);
  return null;
});
supervisor.answer('unload', async () => {
  await running().unload();
  report();
  return null;
});
supervisor.answer('judge', async ({ horizonMs }) => {
  await running().judge(horizonMs);
  report();
  return null;
});
supervisor.answer('audit', () => running().audit());
supervisor.answer('window', ({ category, id }) => running().window(category, id));
supervisor.answer('inspect', ({ id }) => running().inspect(id));
supervisor.answer('stop', async () => {
  await application?.stop();
  return null;
});
supervisor.hear('facts', ({ facts, horizonMs }) => heard((one) => one.hear(facts, horizonMs)));
supervisor.hear('outages', (list) => heard((one) => one.outages(list)));
supervisor.hear('dieMidWrite', () => application?.dieMidWrite());
