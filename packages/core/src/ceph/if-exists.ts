import { toFerryError } from '../errors/ferry-error.js';

/** Null when the image (or its pool or namespace) is not there. */
export const ifExists = async <T>(step: Promise<T>): Promise<T | null> => {
  try {
    return await step;
  } catch (thrown) {
    const { code } = toFerryError(thrown);
    if (code === 'IMAGE_NOT_FOUND' || code === 'POOL_NOT_FOUND' || code === 'NAMESPACE_NOT_FOUND') return null;
    throw thrown;
  }
};
