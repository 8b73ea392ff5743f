import { startContainer } from '../docker/container.js';
import { DevServicesError } from '../errors.js';
import { freePort } from '../ports.js';
import { waitFor } from '../wait.js';
import { type MongoServer, withMongo } from './server.js';

const SET = 'lockstep';

/** A replica set of one member in a container: it answers, and can't be broken on demand. */
export async function mongoContainer(startTimeoutMs: number): Promise<MongoServer | undefined> {
  // One port inside and outside: the member's address in the set's configuration has to hold on both sides.
  const port = await freePort();
  const running = await startContainer({
    image: 'mongo:8',
    port,
    hostPort: port,
    command: ['mongod', '--port', String(port), '--replSet', SET, '--bind_ip_all'],
    startTimeoutMs,
  });
  if (running === undefined) return undefined;
  const direct = `mongodb://${running.host}:${port}/?directConnection=true`;
  const members = [{ _id: 0, host: `127.0.0.1:${port}` }];
  await waitFor('the MongoDB container', startTimeoutMs, async () => {
    const hello = await withMongo(direct, (client) => client.db('admin').command({ hello: 1 }));
    if (hello['isWritablePrimary'] === true) return true;
    if (hello['setName'] === undefined) {
      await withMongo(direct, (client) =>
        client.db('admin').command({ replSetInitiate: { _id: SET, members } }),
      );
    }
    return false;
  });
  const refuse = async (): Promise<never> => {
    throw new DevServicesError(
      'DEV_SERVICES_NOT_OWNED',
      'A MongoDB in a container can’t be broken on demand',
    );
  };
  return {
    url: `mongodb://${running.host}:${port}/?replicaSet=${SET}`,
    replicaSet: SET,
    members: [],
    primary: refuse,
    stepDown: refuse,
    stop: running.stop,
  };
}
