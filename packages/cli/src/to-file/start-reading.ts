import type { CallOptions, Client, ClientReadableStream, Metadata } from '@grpc/grpc-js';
import {
  ControlServiceService,
  type ReadBackupRequest,
  type ReadBackupResponse,
} from '@rbdferry/core/gen/rbdferry/v1/control.js';
import { installHotPath } from '@rbdferry/core/rpc/grpc-hot-path.js';
import { decodeData } from '@rbdferry/core/rpc/hot-data.js';

const { path, requestSerialize, responseDeserialize } = ControlServiceService.readBackup;

const deserialize = (bytes: Buffer): ReadBackupResponse => {
  const value = decodeData(bytes);
  return value === undefined ? responseDeserialize(bytes) : { part: { $case: 'data', value } };
};

/** Begins a reading in the way of the daemons, without the copies of grpc-js and of the generated code; its data is to be claimed as leases. */
export const startReading = (
  client: Client,
  request: ReadBackupRequest,
  metadata: Metadata,
  options: Partial<CallOptions>,
): ClientReadableStream<ReadBackupResponse> => {
  installHotPath();
  return client.makeServerStreamRequest(path, requestSerialize, deserialize, request, metadata, options);
};
