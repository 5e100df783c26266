import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { ErrorCode } from '@rbdferry/core/errors/registry.js';
import { formatImageRef, type ImageRef } from '@rbdferry/core/model/image-spec.js';

/** An error as the adapter over `rbd` throws it. @param what after "cannot": `remove image "rbd/vm1"` */
export const refusal = (code: ErrorCode, what: string, why: string): FerryError =>
  new FerryError(code, `cannot ${what}: ${why}`);

export const named = (image: ImageRef): string => `image "${formatImageRef(image)}"`;
export const namedSnap = (image: ImageRef, snap: string): string => `"${formatImageRef(image)}@${snap}"`;
