import { createHandlers } from '@rbdferry/core/rpc/handlers.js';
import { installHotPath } from '@rbdferry/core/rpc/grpc-hot-path.js';
import { transferDefinition } from '@rbdferry/core/rpc/hot-data.js';
import { createServer } from '@rbdferry/core/rpc/server.js';
import type { PushRequest } from '@rbdferry/core/gen/rbdferry/v1/transfer.js';
import { serverCredentials } from '@rbdferry/core/rpc/tls.js';
import { Lease } from '@rbdferry/core/transfer/lease.js';
import { cephOf, imageOf } from './ends.js';
import { receiverSettings } from './settings.js';

/**
 * The receiver's end of the transport alone: takes pushes and throws the data away, or gives it to `rbd import-diff` unseen. Prints
 * the port it listens on.
 */
const { tls, windowBytes, into } = receiverSettings.parse(JSON.parse(process.argv[2] ?? ''));
installHotPath();

const server = createServer({
  proto: 'rbdferry/v1/transfer.proto',
  service: 'rbdferry.v1.TransferService',
  windows: { window: windowBytes ?? 'auto', bulkPath: transferDefinition.push.path },
});
const { clientStream } = createHandlers((error) => {
  console.error(error.message);
});
server.grpc.addService(transferDefinition, {
  push: clientStream(async (messages: AsyncIterable<PushRequest>) => {
    const sink = into === undefined ? null : cephOf(into).importDiff(imageOf(into));
    for await (const { part } of messages) {
      if (part?.$case !== 'data') continue;
      const data = Lease.claim(part.value);
      await sink?.write(data.bytes);
      data.release();
    }
    await sink?.finish();
    return { backup: undefined };
  }),
});
console.log(await server.listenTls('127.0.0.1:0', await serverCredentials(tls)));
process.once('SIGTERM', () => process.exit(0));
