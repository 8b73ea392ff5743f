import { LOOPBACK } from '../ports.js';

export interface ContainerSpec {
  readonly image: string;
  /** The port inside the container. */
  readonly port: number;
  /** The port outside; absent: any. */
  readonly hostPort?: number | undefined;
  readonly command?: readonly string[] | undefined;
  readonly environment?: Readonly<Record<string, string>> | undefined;
  readonly startTimeoutMs: number;
}

export interface RunningContainer {
  readonly host: string;
  readonly port: number;
  stop(): Promise<void>;
}

/**
 * Runs a container through testcontainers, whose own reaper removes it when this process is killed.
 * Undefined where that package is not installed or no daemon answers.
 */
export async function startContainer(spec: ContainerSpec): Promise<RunningContainer | undefined> {
  const library = await import('testcontainers').catch(() => undefined);
  if (library === undefined) return undefined;
  try {
    await library.getContainerRuntimeClient();
  } catch {
    return undefined;
  }

  class LoopbackContainer extends library.GenericContainer {
    /** By default a container's ports are open to the whole network. */
    publishOnLoopback(): this {
      this.hostConfig.PortBindings = {
        [`${spec.port}/tcp`]: [{ HostIp: LOOPBACK, HostPort: String(spec.hostPort ?? 0) }],
      };
      return this;
    }
  }

  const container = new LoopbackContainer(spec.image)
    .withExposedPorts(spec.port)
    .publishOnLoopback()
    .withEnvironment({ ...spec.environment })
    .withStartupTimeout(spec.startTimeoutMs);
  if (spec.command !== undefined) container.withCommand([...spec.command]);
  const running = await container.start();
  const host = running.getHost();
  return {
    host: host === 'localhost' ? LOOPBACK : host,
    port: running.getMappedPort(spec.port),
    stop: async () => {
      await running.stop({ remove: true, removeVolumes: true });
    },
  };
}
