import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { ClusterError } from './cluster-error.js';
import { MON_ADDRESS, PORTS_PER_CLUSTER } from './conf.js';

// Below Linux' range for outgoing connections, above Ceph's own ports.
const FIRST_PORT = 10_000;
const LAST_PORT = 32_000;

/**
 * The first of `PORTS_PER_CLUSTER` ports, free at this moment. Another process may take it before
 * the monitor does: be ready to choose again.
 */
export async function chooseFreePort(): Promise<number> {
  const blocks = Math.floor((LAST_PORT - FIRST_PORT) / PORTS_PER_CLUSTER);
  for (let attempt = 0; attempt < 50; attempt += 1) {
    const port = FIRST_PORT + randomInt(blocks) * PORTS_PER_CLUSTER;
    if (await isFree(port)) return port;
  }
  throw new ClusterError(`found no free port between ${FIRST_PORT} and ${LAST_PORT}`);
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  try {
    server.listen(port, MON_ADDRESS);
    await once(server, 'listening');
    return true;
  } catch {
    return false;
  } finally {
    server.close();
  }
}
