import type { CephPort } from '@rbdferry/core/ceph/port.js';
import { findZstd } from '@rbdferry/core/compress/zstd.js';
import { LiveConfig } from '@rbdferry/core/config/live-config.js';
import type { Running } from '@rbdferry/core/lifecycle/daemon.js';
import { theRealOutside, type Outside } from '@rbdferry/core/lifecycle/outside.js';
import { WellWatch, type Concern } from '@rbdferry/core/lifecycle/well-watch.js';
import { describeStages } from '@rbdferry/core/log/describe-stages.js';
import type { Logger } from '@rbdferry/core/log/logger.js';
import { serveMetricsIf } from '@rbdferry/core/metrics/endpoint.js';
import { oddNameTimes } from '@rbdferry/core/model/name-time.js';
import { installHotPath, wirePath } from '@rbdferry/core/rpc/grpc-hot-path.js';
import { transferDefinition } from '@rbdferry/core/rpc/hot-data.js';
import { CertificateWatch } from '@rbdferry/core/rpc/certificate-watch.js';
import { createServer } from '@rbdferry/core/rpc/server.js';
import { reloadServerCredentials, serverCredentials } from '@rbdferry/core/rpc/tls.js';
import { reportSecondReleases } from '@rbdferry/core/transfer/lease.js';
import { Access } from './access.js';
import { receiverConfigSchema, type ReceiverConfig } from './config.js';
import { KnownBackups } from './known-backups.js';
import { ReceiverMetrics } from './receiver-metrics.js';
import { RefusedClients } from './refused-clients.js';
import { createTransferService } from './service/transfer-service.js';
import { createStore } from './store/kinds.js';
import type { Store } from './store/port.js';
import { storeRulesOf } from './store/retention-config.js';
import { LiveTransfers, type LiveTransfer, type TransferListener } from './transfer/live-transfers.js';
import { OpenTransfers } from './transfer/open-transfers.js';

/** How long transfers may go on after SIGTERM before they are broken off (and leave nothing, as any broken one). */
const stopGraceMs = 10_000;
/** What is opened once. */
const needRestart = ['listen', 'ceph', 'stores', 'window', 'wire', 'metrics'] as const;

/** Starts the receiver from its configuration file. @throws CONFIG_MISSING, CONFIG_INVALID */
export const startReceiver = async (
  configPath: string,
  outside: Outside = theRealOutside,
): Promise<{ running: Running; log: Logger }> => {
  const { createLogger, now } = outside;
  const live = await LiveConfig.load({ path: configPath, schema: receiverConfigSchema, fixed: needRestart });
  const config = live.current;
  const log = createLogger('rbdferry-receiver', config.log_level);
  if (config.wire === 'in-place') installHotPath();
  reportSecondReleases(({ message, stack }) => {
    log.error({ stack }, message);
  });
  const { conf, user, keyring, adapter, command_timeout } = config.ceph;
  const { ceph, adapter: chosen } = await outside.createCeph({
    conf,
    user,
    keyring,
    adapter,
    deadlines: { commandMs: command_timeout },
    log,
  });
  const stores = createStores(live, { ceph, log, now });
  const open = new OpenTransfers();
  const metrics = new ReceiverMetrics();
  const ending = new AbortController();
  const known = new KnownBackups({ stores, metrics, log, signal: ending.signal });
  const zstd = await findZstd();
  const access = new Access(() => live.current.clients, stores);
  const refused = new RefusedClients({ log, onRefused: metrics.refused.bind(metrics), now });
  const server = createServer({
    proto: 'rbdferry/v1/transfer.proto',
    service: 'rbdferry.v1.TransferService',
    windows: {
      window: config.window,
      bulkPath: transferDefinition.push.path,
      onConnection: ({ client, windowBytes, roundTripMs }) => {
        // Only names of the configuration may become labels.
        if (client === null || !Object.hasOwn(live.current.clients, client)) return;
        metrics.connections.saw(client, { windowBytes, roundTripSeconds: roundTripMs / 1000 });
      },
    },
    onRefused: (refusal) => {
      refused.refused(refusal);
    },
  });
  server.grpc.addService(
    transferDefinition,
    createTransferService({
      access,
      open,
      live: new LiveTransfers(listenToTransfers(metrics, log)),
      get stallMs() {
        return live.current.stall_timeout;
      },
      zstd,
      now,
      rulesOf: (name) => {
        const store = config.stores[name];
        return store === undefined ? null : storeRulesOf(store);
      },
      onFailure: (error, { client, peer, address, method }) => {
        metrics.failed(error.code);
        const reason = access.refusal(peer);
        if (reason !== null) refused.refused({ reason, address, client, detail: error.message });
        else log.warn({ client, method, code: error.code, error: error.message }, 'a call failed');
      },
      onRemoved: (backups, client) => {
        known.removed(backups);
        log.info({ backups, client }, 'backups removed');
      },
      onHold: ({ backup: { id, hold } }, client) => {
        log.info({ backup: id, client, hold }, hold === null ? 'hold taken off' : 'backup held');
      },
      onCommitted: (backup) => {
        metrics.committed(backup);
        for (const odd of oddNameTimes(backup, now())) {
          log.warn({ backup: backup.id, client: backup.client }, `the time in the name of a backup ${odd}`);
        }
        log.info(
          { backup: backup.id, client: backup.client, streamBytes: Number(backup.streamBytes) },
          'backup committed',
        );
      },
    }),
  );
  const credentials = await serverCredentials(config.tls);
  const port = await server.listenTls(config.listen, credentials);
  const endpoint = await serveMetricsIf(metrics.registry, config.metrics, log);
  const certificates = new CertificateWatch({ log, now });
  const certificate: Concern = {
    name: 'certificate',
    check: () =>
      certificates.check('certificate', live.current.tls, (ends) => {
        metrics.certificates.saw('', ends);
      }),
  };
  const concerns = [
    certificate,
    ...storeConcerns(stores, log, (store) => {
      if (config.metrics !== undefined) known.fill(store);
    }),
  ];
  const well = new WellWatch({
    concerns: () => concerns,
    log,
    signal: ending.signal,
    onLook: (isWell) => {
      server.setServing(isWell);
    },
  });
  const names = [...stores.keys()];
  void well.start({
    listen: config.listen,
    port,
    stores: names,
    zstd: zstd?.from ?? null,
    wire: wirePath(),
    ceph: chosen,
  });
  return {
    log,
    running: {
      async reload() {
        await live.reload(log, async ({ tls, log_level }) => {
          await reloadServerCredentials(credentials, tls);
          log.level = log_level;
        });
        certificates.sayAgain();
        well.look();
      },
      async stop() {
        ending.abort();
        await Promise.all([server.stop(stopGraceMs), well.ended()]);
        await Promise.all([known.idle(), endpoint.stop()]);
        await open.close();
        await Promise.all([...stores.values()].map((store) => store.close()));
      },
    },
  };
};

/** Counts transfers, and tells of each when it ends. */
const listenToTransfers = (metrics: ReceiverMetrics, log: Logger): TransferListener => ({
  begun(transfer, stages) {
    const direction = transfer.kind === 'restore' ? 'sent' : 'received';
    const measured = metrics.transfers.begin({ kind: transfer.kind, direction }, stages);
    return (result) => {
      const code = result.kind === 'ok' ? undefined : result.code;
      const outcome = code === 'CANCELLED' ? 'cancelled' : result.kind;
      measured(outcome);
      log.info({ ...nameOf(transfer), result: outcome, code, ...describeStages(stages.view) }, 'transfer ended');
    };
  },
});

const nameOf = ({ kind, client, backupId }: LiveTransfer) => ({ transfer: kind, client, backup: backupId });

const createStores = (
  live: LiveConfig<ReceiverConfig>,
  { ceph, log, now }: { ceph: CephPort; log: Logger } & Pick<Outside, 'now'>,
): Map<string, Store> => {
  const stallMs = () => live.current.stall_timeout;
  const entries = Object.entries(live.current.stores).map(([name, store]): [string, Store] => [
    name,
    createStore(store, { name, ceph, stallMs, log: log.child({ store: name }), now }),
  ]);
  return new Map(entries);
};

/** A store is well when it answers and could be cleaned up, which runs beside the service: the locks of the chains keep the two apart. */
const storeConcerns = (
  stores: ReadonlyMap<string, Store>,
  log: Logger,
  onRecovered: (store: Store) => void,
): Concern[] =>
  [...stores].map(([name, store]) => ({
    name: `store ${name}`,
    check: (signal) => store.look({ signal }),
    first: async (signal) => {
      const changed = await store.recover({ signal });
      log.info({ store: name, cleaned: changed }, 'store checked');
      onRecovered(store);
    },
  }));
