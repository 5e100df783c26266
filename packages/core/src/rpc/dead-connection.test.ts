import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { initCa } from '../../../cli/src/pki/authority.js';
import { issueCertificate } from '../../../cli/src/pki/issue-certificate.js';
import {
  Compression,
  type PullResponse,
  type PushRequest,
  type PushResponse,
  type TransferServiceClient,
} from '../gen/rbdferry/v1/transfer.js';
import { callClientStream, callServerStream, type CallSettings } from './calls.js';
import type { RpcServer } from './server.js';
import {
  createClient,
  createTestServer,
  startRelay,
  type Relay,
  type ServicePair,
  type TestHandlers,
} from './service-pair.js';
import { clientCredentials, serverCredentials, type TlsFiles } from './tls.js';

/** A far side that stops reading and then is gone, over TLS: what Node forgets to tell. Well before a keepalive ping would. */

let dir: string;
let relay: Relay;
let server: RpcServer;
let client: TransferServiceClient;
let failures: ServicePair['failures'];

const filesOf = (name: string): TlsFiles => ({
  ca: join(dir, 'ca.crt'),
  cert: join(dir, `${name}.crt`),
  key: join(dir, `${name}.key`),
});

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'rbdferry-dead-'));
  await initCa({ dir });
  await issueCertificate({ dir, name: 'receiver', hosts: ['localhost'] });
  await issueCertificate({ dir, name: 'agent1' });
});

afterAll(async () => {
  await rm(dir, { recursive: true, force: true });
});

afterEach(async () => {
  client.close();
  await server.stop(100);
  relay.stop();
});

const start = async (handlers: TestHandlers): Promise<void> => {
  failures = [];
  server = createTestServer(handlers, failures);
  const port = await server.listenTls('localhost:0', await serverCredentials(filesOf('receiver')));
  relay = await startRelay({ port: 0 }, { port, host: 'localhost' });
  client = createClient(`localhost:${String(relay.port)}`, await clientCredentials(filesOf('agent1')));
};

const message = (): Buffer => Buffer.alloc(1024 * 1024, 7);
const settings: CallSettings = { peer: { unreachable: 'RECEIVER_UNREACHABLE', peer: 'receiver "dr"' } };

/** A keepalive ping finds a dead connection after 40 s. */
const patienceMs = 10_000;

describe('a connection that is reset while a write is under way', () => {
  it('fails the push of its client', { timeout: 2 * patienceMs }, async () => {
    let taken = 0;
    await start(({ clientStream }) => ({
      push: clientStream(async (messages: AsyncIterable<PushRequest>) => {
        for await (const { part } of messages) taken += part === undefined ? 0 : 1;
        return { backup: undefined };
      }),
    }));
    const call = callClientStream<PushRequest, PushResponse>(
      (metadata, options, callback) => client.push(metadata, options, callback),
      settings,
    );
    const pushing = (async () => {
      for (;;) await call.write({ part: { $case: 'data', value: message() } });
    })();
    pushing.catch(() => {});
    await vi.waitFor(
      () => {
        expect(taken).toBeGreaterThan(0);
      },
      { timeout: patienceMs },
    );
    await relay.resetOnceFull();
    await expect(pushing).rejects.toMatchObject({ code: 'CONNECTION_LOST' });
  });

  it('ends the pull on its server', { timeout: 2 * patienceMs }, async () => {
    let ended = false;
    await start(({ serverStream }) => ({
      pull: serverStream(async function* (): AsyncGenerator<PullResponse> {
        try {
          for (;;) yield { part: { $case: 'data', value: message() } };
        } finally {
          ended = true;
        }
      }),
    }));
    const request = {
      backupId: '',
      transferId: '',
      compression: Compression.UNSPECIFIED,
      limitBytesPerSecond: 0n,
      maxDataBytes: 0,
    };
    const pulled = callServerStream<PullResponse>(
      (metadata, options) => client.pull(request, metadata, options),
      settings,
    );
    await pulled.next();
    await relay.resetOnceFull();
    await vi.waitFor(() => {
      expect(ended).toBe(true);
    }, patienceMs);
    expect(failures.map(({ error }) => error.code)).toEqual(['CANCELLED']);
  });
});
