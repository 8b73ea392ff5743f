import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { describe, expect, test } from 'vitest';

const CLI = fileURLToPath(new URL('../dist/cli.js', import.meta.url));
const run = (...args: string[]) =>
  execa(process.execPath, [CLI, ...args], { reject: false, timeout: 90_000 });

describe('the services command', () => {
  test('gives a command the addresses, and ends with its exit code', async () => {
    const shell = 'test -n "$REDIS_URL" && echo "got $REDIS_URL"; exit 7';
    const result = await run('redis', '--', 'sh', '-c', shell);
    expect(result.stdout).toMatch(/^got redis:\/\/127\.0\.0\.1:\d+/);
    expect(result.exitCode).toBe(7);
  });

  test('prints the addresses as JSON and runs until it is interrupted', async () => {
    const running = execa(process.execPath, [CLI, 'redis', '--json'], { reject: false, timeout: 90_000 });
    for await (const line of running) {
      expect(JSON.parse(String(line))).toEqual({ REDIS_URL: expect.stringMatching(/^redis:/) });
      running.kill('SIGINT');
    }
    expect((await running).exitCode).toBe(0);
  });

  test('explains itself, and names a server that it does not know', async () => {
    expect((await run('--help')).stdout).toContain('Usage: services');
    const wrong = await run('oracle');
    expect(wrong.exitCode).toBe(1);
    expect(wrong.stderr).toMatch(/no server 'oracle': choose from postgres, redis/);
  });
});
