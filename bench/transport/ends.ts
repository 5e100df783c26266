import type { CephPort } from '@rbdferry/core/ceph/port.js';
import { createRbdCli } from '@rbdferry/core/ceph/rbd-cli.js';
import { parseImageSpec, type ImageSpec } from '@rbdferry/core/model/image-spec.js';
import type { End } from './settings.js';

export const cephOf = ({ conf, user, keyring }: End): CephPort => createRbdCli({ conf, user, keyring });

export const imageOf = ({ image }: End): ImageSpec => {
  const parsed = parseImageSpec(image);
  if (parsed.ok) return parsed.value;
  throw new Error(parsed.problem);
};
