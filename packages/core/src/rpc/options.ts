import type { ChannelOptions } from '@grpc/grpc-js';
import { defaultWindowBytes } from './window.js';

/** Above the largest message we send (data plus framing, or a chain with many backups). */
export const maxMessageBytes = 16 * 1024 * 1024;

/** The far side is asked for a sign of life this often, so that a broken link is noticed in the middle of a transfer. */
const keepalive: ChannelOptions = {
  'grpc.keepalive_time_ms': 20_000,
  'grpc.keepalive_timeout_ms': 20_000,
};

export const serverOptions: ChannelOptions = {
  ...keepalive,
  'grpc.max_receive_message_length': maxMessageBytes,
  'grpc.max_send_message_length': maxMessageBytes,
};

export const clientOptions = (windowBytes: number = defaultWindowBytes): ChannelOptions => ({
  ...keepalive,
  'grpc.max_receive_message_length': maxMessageBytes,
  'grpc.max_send_message_length': maxMessageBytes,
  // A transfer is retried as a whole, by the job runner, never inside a stream.
  'grpc.enable_retries': 0,
  // Nor is a message kept for a retry, and then said to be sent before it is: its buffer is used again once it is sent.
  'grpc.per_rpc_retry_buffer_size': 0,
  // A proxy meant for the web must not carry backups.
  'grpc.enable_http_proxy': 0,
  'grpc.initial_reconnect_backoff_ms': 200,
  'grpc.max_reconnect_backoff_ms': 5_000,
  'grpc-node.flow_control_window': windowBytes,
});
