import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import type {
  HoldBackupRequest,
  HoldBackupResponse,
  ReleaseBackupRequest,
  ReleaseBackupResponse,
} from '@rbdferry/core/gen/rbdferry/v1/control.js';
import type { Hold, HoldTerms } from '@rbdferry/core/model/hold.js';
import { holdTermsFromWire, holdToWire, requireField } from '@rbdferry/core/wire/convert.js';
import { namedBackups, wholeIds } from '../backup-ids.js';
import { choosePlace } from '../choose-receiver.js';
import type { AgentConfig } from '../config.js';
import type { ReceiverClient } from '../receiver-client/receiver-client.js';

interface Deps {
  readonly config: () => AgentConfig;
  readonly connect: (receiver: string, options: { signal: AbortSignal }) => Promise<ReceiverClient>;
}

export const holdBackup = async (
  request: HoldBackupRequest,
  deps: Deps,
  signal: AbortSignal,
): Promise<HoldBackupResponse> => {
  const terms = holdTermsFromWire(requireField(request.hold, 'hold'));
  const { id, hold, before } = await setHold(request, terms, { ...deps, signal });
  if (hold === null) throw new FerryError('INTERNAL', 'the receiver answered a hold without one');
  return { backupId: id, hold: holdToWire(hold), before: toWire(before) };
};

export const releaseBackup = async (
  request: ReleaseBackupRequest,
  deps: Deps,
  signal: AbortSignal,
): Promise<ReleaseBackupResponse> => {
  const { id, before } = await setHold(request, null, { ...deps, signal });
  return { backupId: id, before: toWire(before) };
};

const toWire = (hold: Hold | null) => (hold === null ? undefined : holdToWire(hold));

const setHold = async (
  request: Pick<HoldBackupRequest, 'backupId' | 'receiver' | 'store'>,
  terms: HoldTerms | null,
  { config, connect, signal }: Deps & { readonly signal: AbortSignal },
) => {
  const named = namedBackups([request.backupId]);
  const { receiver: name, store } = choosePlace(config(), request);
  const receiver = await connect(name, { signal });
  try {
    const [whole] = await wholeIds(named, [store], { receiver, signal });
    const id = requireField(whole, 'backup id');
    return { id, ...(await receiver.setHold(id, terms, { signal })) };
  } finally {
    receiver.close();
  }
};
