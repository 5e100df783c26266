import { once } from 'node:events';
import { createServer } from 'node:net';
import { expect, test, vi } from 'vitest';
import { startCluster } from './cluster.js';
import { chooseFreePort } from './port.js';

vi.mock(import('./port.js'), async (importOriginal) => {
  const original = await importOriginal();
  return { chooseFreePort: vi.fn(original.chooseFreePort) };
});

test('another port is used when one is taken between choosing and binding', async () => {
  const port = await chooseFreePort();
  const server = createServer().listen(port, '127.0.0.1');
  await once(server, 'listening');
  vi.mocked(chooseFreePort).mockResolvedValueOnce(port);

  const lines: string[] = [];
  const cluster = await startCluster({ name: 'late', log: (line) => lines.push(line) });
  await cluster.stop();
  server.close();

  expect(lines.join('\n')).toMatch(/a port was taken[^]*is up after/);
}, 60_000);
