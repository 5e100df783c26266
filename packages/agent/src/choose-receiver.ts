import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { AgentConfig, ReceiverConfig } from './config.js';

/** Where a request goes to: the names of a receiver and of a store there. */
export interface Place {
  readonly receiver: string;
  readonly store: string;
}

/** The receiver used when a request names none. */
export const defaultReceiver = (config: AgentConfig): string =>
  config.default_receiver ?? Object.keys(config.receivers)[0] ?? '';

/** @param named each empty for the default one @throws RECEIVER_NOT_FOUND */
export const choosePlace = (config: AgentConfig, named: Place): Place => {
  const receiver = named.receiver === '' ? defaultReceiver(config) : named.receiver;
  const found = receiverConfig(config, receiver);
  return { receiver, store: named.store === '' ? found.store : named.store };
};

/** @throws RECEIVER_NOT_FOUND */
export const receiverConfig = (config: AgentConfig, name: string): ReceiverConfig => {
  const found = Object.hasOwn(config.receivers, name) ? config.receivers[name] : undefined;
  if (found !== undefined) return found;
  throw new FerryError('RECEIVER_NOT_FOUND', `the agent has no receiver ${JSON.stringify(name)}`, {
    hint: `it has: ${Object.keys(config.receivers).join(', ')}`,
  });
};
