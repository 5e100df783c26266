import { randomFillSync } from 'node:crypto';
import { makeClientConstructor, type Client } from '@grpc/grpc-js';
import type { ByteSource } from '@rbdferry/core/ceph/port.js';
import type { PushRequest, PushResponse, TransferServiceClient } from '@rbdferry/core/gen/rbdferry/v1/transfer.js';
import { callClientStream } from '@rbdferry/core/rpc/calls.js';
import { installHotPath } from '@rbdferry/core/rpc/grpc-hot-path.js';
import { transferDefinition } from '@rbdferry/core/rpc/hot-data.js';
import { clientOptions } from '@rbdferry/core/rpc/options.js';
import { clientCredentials } from '@rbdferry/core/rpc/tls.js';
import { Lease } from '@rbdferry/core/transfer/lease.js';
import { cephOf, imageOf } from './ends.js';
import { agentSettings } from './settings.js';

/**
 * The agent's end of the transport alone: sends messages of a MiB from memory, or what `rbd export-diff` gives, as fast as they are
 * taken, and looks at nothing. Prints what it took.
 */
const { tls, port, bytes, from } = agentSettings.parse(JSON.parse(process.argv[2] ?? ''));
installHotPath();

const TransferClient = makeClientConstructor(transferDefinition, 'rbdferry.v1.TransferService') as unknown as new (
  ...args: ConstructorParameters<typeof Client>
) => TransferServiceClient;

async function* fromMemory(): AsyncGenerator<Lease, void, undefined> {
  const content = randomFillSync(Buffer.allocUnsafe(1024 * 1024));
  for (let sent = 0; sent < bytes; sent += content.length) {
    const data = Lease.take(content.length);
    content.copy(data.bytes);
    yield data;
  }
}

const source = (): ByteSource =>
  from === undefined ? fromMemory() : cephOf(from).exportDiff(imageOf(from), { snap: from.snap, fromSnap: null });

const credentials = await clientCredentials(tls);

const cpuBefore = process.cpuUsage();
const begin = performance.now();
const client = new TransferClient(`localhost:${port}`, credentials, clientOptions());
const call = callClientStream<PushRequest, PushResponse>(
  (metadata, options, callback) => client.push(metadata, options, callback),
  { peer: { unreachable: 'RECEIVER_UNREACHABLE', peer: 'the receiver' } },
);
for await (const data of source()) {
  await call.write({ part: { $case: 'data', value: data.bytesForMessage } }, () => {
    data.release();
  });
}
await call.finish();
const seconds = (performance.now() - begin) / 1000;
const { user, system } = process.cpuUsage(cpuBefore);
client.close();

const answer = { seconds, cpuSeconds: (user + system) / 1e6, peakBytes: process.resourceUsage().maxRSS * 1024 };
console.log(JSON.stringify(answer));
