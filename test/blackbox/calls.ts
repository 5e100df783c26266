import { expect } from 'vitest';
import { CallError } from './wire.js';

/** The failure that a call ends with. @throws when it succeeds, or fails with anything but a status */
export const failureOf = async (step: Promise<unknown>): Promise<CallError> => {
  const thrown = await step.then(
    () => new Error('expected a failure'),
    (thrown: unknown) => thrown,
  );
  if (thrown instanceof CallError) return thrown;
  throw thrown;
};

/** The call fails with this code of the registry and this gRPC status, in words and with a hint. */
export const expectFailure = async (step: Promise<unknown>, code: string, status: string): Promise<CallError> => {
  const error = await failureOf(step);
  expect([error.detail.code, error.status], error.message).toEqual([code, status]);
  expect(error.detail.message.length).toBeGreaterThan(5);
  expect(error.detail.hint.length).toBeGreaterThan(5);
  return error;
};
