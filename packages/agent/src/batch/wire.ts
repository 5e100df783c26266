import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { orThrow } from '@rbdferry/core/errors/parsed.js';
import {
  JobKind,
  type StartBackupsRequest,
  type StartRestoresRequest,
} from '@rbdferry/core/gen/rbdferry/v1/control.js';
import { formatImageSpec, formatPoolSpec, parseImageSpec, parsePoolSpec } from '@rbdferry/core/model/image-spec.js';
import { modeOf } from '../backup/wire.js';
import { momentOf } from '../restore/wire.js';
import type { Place } from '../choose-receiver.js';
import { limitsOf } from '../jobs/request-limits.js';
import type { BackupBatch, RestoreBatch } from './batch-jobs.js';
import { globTest, type ImageSelection } from './selection.js';

export const batchKind = JobKind.BATCH;

/** @param choose tells which receiver and store are meant @throws INVALID_IMAGE_SPEC, INVALID_REQUEST, what `choose` throws */
export const backupBatchOf = (request: StartBackupsRequest, choose: (named: Place) => Place): BackupBatch => {
  const selection = selectionOf(request.selection);
  const { receiver, store } = choose(request);
  // The order of the keys belongs to what is kept: a request that came twice is known by its text.
  return { kind: 'batch', of: 'backup', selection, mode: modeOf(request.mode), receiver, store, ...limitsOf(request) };
};

/** @param choose tells which receiver and store are meant @throws INVALID_IMAGE_SPEC, INVALID_REQUEST, what `choose` throws */
export const restoreBatchOf = (request: StartRestoresRequest, choose: (named: Place) => Place): RestoreBatch => {
  const { replace, match, exclude } = request;
  const pool = formatPoolSpec(orThrow(parsePoolSpec(request.pool), 'INVALID_IMAGE_SPEC'));
  const toPool =
    request.toPool === '' ? pool : formatPoolSpec(orThrow(parsePoolSpec(request.toPool), 'INVALID_IMAGE_SPEC'));
  globTest([...match, ...exclude]);
  const atMs = request.atMs === undefined ? null : momentOf(request.atMs);
  const { receiver, store } = choose(request);
  return {
    kind: 'batch',
    of: 'restore',
    pool,
    toPool,
    atMs,
    replace,
    match: [...match],
    exclude: [...exclude],
    receiver,
    store,
    ...limitsOf(request),
  };
};

const selectionOf = (wire: StartBackupsRequest['selection']): ImageSelection => {
  const { images = [], pools = [], allPools = false, match = [], exclude = [] } = wire ?? {};
  if (images.length === 0 && pools.length === 0 && !allPools) {
    throw new FerryError('INVALID_REQUEST', 'say which images to back up: name them, or pools, or all pools');
  }
  if (match.length + exclude.length > 0 && pools.length === 0 && !allPools) {
    throw new FerryError('INVALID_REQUEST', 'globs choose among the images of pools, and no pool was named');
  }
  globTest([...match, ...exclude]);
  return {
    images: images.map((text) => formatImageSpec(orThrow(parseImageSpec(text), 'INVALID_IMAGE_SPEC'))),
    pools: pools.map((text) => formatPoolSpec(orThrow(parsePoolSpec(text), 'INVALID_IMAGE_SPEC'))),
    allPools,
    match: [...match],
    exclude: [...exclude],
  };
};
