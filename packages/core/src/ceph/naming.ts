import { FerryError } from '../errors/ferry-error.js';
import { formatImageRef, type ImageRef } from '../model/image-spec.js';
import { maxMetadataValueBytes } from './port.js';

/** How both adapters name things in their messages, and what both refuse. */

export const named = (image: ImageRef): string => `image "${formatImageRef(image)}"`;
export const namedSnap = (image: ImageRef, snap: string): string => `"${formatImageRef(image)}@${snap}"`;
export const noImage = { missing: 'IMAGE_NOT_FOUND' } as const;

/** @param what after "cannot" @throws CEPH_FAILED */
export const requireMetadataValue = (what: string, value: string): void => {
  const bytes = Buffer.byteLength(value);
  if (bytes > 0 && bytes <= maxMetadataValueBytes && !value.includes('\0')) return;
  throw new FerryError(
    'CEPH_FAILED',
    `cannot ${what}: rbd takes 1 to ${maxMetadataValueBytes} bytes without a NUL, not ${bytes}`,
  );
};
