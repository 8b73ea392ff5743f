import { startProxy, type TcpProxy } from '@lockstep/dev-services';

interface Address {
  readonly host: string;
  readonly port: number;
}

/** A proxy before each server, and the map by which ioredis finds the proxy where the topology names the server. */
export interface Proxies extends AsyncDisposable {
  readonly all: readonly TcpProxy[];
  readonly natMap: Readonly<Record<string, Address>>;
  /** Resets every connection; new ones pass. */
  cut(): Promise<void>;
}

export async function proxiesOf(servers: readonly Address[]): Promise<Proxies> {
  const all = await Promise.all(servers.map(({ host, port }) => startProxy({ target: { host, port } })));
  const natMap: Record<string, Address> = {};
  servers.forEach(({ host, port }, index) => {
    const proxy = all[index];
    if (proxy !== undefined) natMap[`${host}:${port}`] = { host: proxy.host, port: proxy.port };
  });
  return {
    all,
    natMap,
    async cut() {
      for (const proxy of all) {
        await proxy.cut();
        await proxy.heal();
      }
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(all.map((proxy) => proxy.stop()));
    },
  };
}
