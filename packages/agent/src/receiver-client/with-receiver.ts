import type { ReceiverClient } from './receiver-client.js';

/** Runs a step with a receiver, and closes the connection. @throws what connecting throws, and the step */
export const withReceiver = async <T>(
  connecting: Promise<ReceiverClient>,
  step: (receiver: ReceiverClient) => Promise<T>,
): Promise<T> => {
  const receiver = await connecting;
  try {
    return await step(receiver);
  } finally {
    receiver.close();
  }
};
