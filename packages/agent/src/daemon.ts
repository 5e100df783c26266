import { findZstd } from '@rbdferry/core/compress/zstd.js';
import { LiveConfig } from '@rbdferry/core/config/live-config.js';
import { toFerryError } from '@rbdferry/core/errors/ferry-error.js';
import { Pauses, type BackOff } from '@rbdferry/core/lifecycle/back-off.js';
import type { Running } from '@rbdferry/core/lifecycle/daemon.js';
import { theRealOutside, type Outside } from '@rbdferry/core/lifecycle/outside.js';
import { WellWatch, type Concern } from '@rbdferry/core/lifecycle/well-watch.js';
import type { Logger } from '@rbdferry/core/log/logger.js';
import { serveMetricsIf } from '@rbdferry/core/metrics/endpoint.js';
import { CertificateWatch } from '@rbdferry/core/rpc/certificate-watch.js';
import { installHotPath, wirePath } from '@rbdferry/core/rpc/grpc-hot-path.js';
import { createServer } from '@rbdferry/core/rpc/server.js';
import { clientCredentials } from '@rbdferry/core/rpc/tls.js';
import { reportSecondReleases } from '@rbdferry/core/transfer/lease.js';
import { AgentMetrics } from './agent-metrics.js';
import { findBackup } from './backup/find-backup.js';
import { receiverConfig } from './choose-receiver.js';
import { agentConfigSchema, type AgentConfig } from './config.js';
import { finishDeletion } from './delete/deletion.js';
import { jobKinds, looseEndKinds } from './job-kinds.js';
import { JobRunner } from './jobs/job-runner.js';
import { JobStore } from './jobs/job-store.js';
import { LooseEnds } from './jobs/loose-ends.js';
import { settleLeftovers } from './jobs/recovery.js';
import { StateLock } from './jobs/state-lock.js';
import { clockWarning } from './receiver-client/clock-difference.js';
import { ReceiverClient, type ConnectOptions } from './receiver-client/receiver-client.js';
import { withReceiver } from './receiver-client/with-receiver.js';
import { createControlService } from './service/control-service.js';
import { controlDefinition } from './service/read-backup-call.js';
import { sourceConcern } from './source-images.js';

/** How long calls may go on after SIGTERM once the jobs have ended. */
const stopGraceMs = 3_000;
/** What is opened once. */
const needRestart = ['socket', 'state', 'ceph', 'wire', 'metrics'] as const;
/** How soon and how seldom unsettled leftovers are looked at again. */
const settleBackOff: BackOff = { firstMs: 1_000, longestMs: 30_000 };

/** Starts the agent from its configuration file. @throws CONFIG_MISSING, CONFIG_INVALID, STATE_LOCKED */
export const startAgent = async (
  configPath: string,
  { createCeph, createLogger, now }: Outside = theRealOutside,
): Promise<{ running: Running; log: Logger }> => {
  const live = await LiveConfig.load({ path: configPath, schema: agentConfigSchema, fixed: needRestart });
  const config = live.current;
  const log = createLogger('rbdferry-agent', config.log_level);
  if (config.wire === 'in-place') installHotPath();
  reportSecondReleases(({ message, stack }) => {
    log.error({ stack }, message);
  });
  const { conf, user, keyring, adapter, command_timeout } = config.ceph;
  const { ceph, adapter: chosen } = await createCeph({
    conf,
    user,
    keyring,
    adapter,
    deadlines: { commandMs: command_timeout },
    log,
  });
  const connect = async (name: string, options: ConnectOptions) => {
    const receiver = await ReceiverClient.connect(name, receiverConfig(live.current, name), { ...options, now });
    const warning = clockWarning(receiver);
    if (warning === null) log.debug({ receiver: name, aheadMs: receiver.aheadMs }, 'connected');
    else log.warn({ receiver: name, aheadMs: receiver.aheadMs }, warning);
    return receiver;
  };

  const lock = new StateLock(config.state);
  const store = new JobStore(config.state);
  const metrics = new AgentMetrics();
  for (const job of store.newestCommitted('backup')) metrics.succeeded(job);
  const endKinds = looseEndKinds({
    ceph,
    findBackup: (name, id) => withReceiver(connect(name, {}), (receiver) => findBackup(receiver, id)),
    finishDeletion: (end) =>
      withReceiver(connect(end.receiver, {}), (receiver) => finishDeletion(end, { receiver, ceph })),
    now,
  });
  const looseEnds = new LooseEnds(store, { kinds: endKinds, now });
  const runner: JobRunner = new JobRunner({
    kinds: jobKinds,
    store,
    looseEnds,
    ceph,
    config: () => live.current,
    log,
    metrics,
    connect,
    now,
    onBroken: () => {
      caretaker.poke();
    },
  });
  metrics.watchQueue(() => runner.counts);
  const onEnded = metrics.jobEnded.bind(metrics);
  const caretaker = new Caretaker(
    { kinds: jobKinds, store, looseEnds, runner, ceph, connect, log, onEnded, now },
    () => {
      const before = now() - live.current.keep_jobs;
      store.forget(before);
      metrics.forget(before);
    },
  );
  const server = createServer({ proto: 'rbdferry/v1/control.proto', service: 'rbdferry.v1.ControlService' });
  server.grpc.addService(
    controlDefinition,
    createControlService({
      config: () => live.current,
      runner,
      jobs: store,
      looseEnds,
      onBroken: () => {
        caretaker.poke();
      },
      ceph,
      connect,
      metrics,
      log,
      onFailure: (error, { method }) => {
        metrics.callFailed(error.code);
        log.warn({ method, code: error.code, error: error.message }, 'a call failed');
      },
    }),
  );
  const zstd = await findZstd();
  await server.listenUnix(config.socket);
  const endpoint = await serveMetricsIf(metrics.registry, config.metrics, log);
  runner.resume(
    store
      .list({ activeOnly: true, limit: 100_000 })
      .filter((job) => job.state.kind === 'queued')
      .toReversed(),
  );
  caretaker.start();
  const ending = new AbortController();
  const cluster: Concern = {
    name: 'cluster',
    check: async (signal) => {
      await ceph.fsid({ signal, isAsked: true });
    },
  };
  const source = sourceConcern({ ceph, metrics, log, now });
  const certificates = new CertificateWatch({ log, now });
  const well = new WellWatch({
    concerns: () => [cluster, source, ...certificateConcerns(live.current, certificates, metrics)],
    log,
    signal: ending.signal,
    onLook: (isWell) => {
      server.setServing(isWell);
    },
  });
  const receivers = Object.keys(config.receivers);
  void well.start({ socket: config.socket, receivers, zstd: zstd?.from ?? null, wire: wirePath(), ceph: chosen });
  return {
    log,
    running: {
      async reload() {
        await live.reload(log, async (next) => {
          for (const { tls } of Object.values(next.receivers)) await clientCredentials(tls);
          log.level = next.log_level;
          runner.reconfigured(next);
        });
        metrics.certificates.keep(Object.keys(live.current.receivers));
        certificates.sayAgain();
        well.look();
      },
      async stop() {
        ending.abort();
        await well.ended();
        await runner.stop();
        await Promise.all([server.stop(stopGraceMs), caretaker.stop(), endpoint.stop()]);
        store.close();
        lock.release();
      },
    },
  };
};

const certificateConcerns = (
  { receivers }: AgentConfig,
  certificates: CertificateWatch,
  metrics: AgentMetrics,
): Concern[] =>
  Object.entries(receivers).map(([receiver, { tls }]) => {
    const name = `certificate for receiver ${receiver}`;
    const onEnds = metrics.certificates.saw.bind(metrics.certificates, receiver);
    return { name, check: () => certificates.check(name, tls, onEnds) };
  });

/** Settles leftovers: soon after something broke, and then less and less often. */
class Caretaker {
  readonly #options: Parameters<typeof settleLeftovers>[0];
  readonly #forget: () => void;
  readonly #ending = new AbortController();
  #round: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  readonly #pauses = new Pauses(settleBackOff);
  #delayMs = settleBackOff.firstMs;

  /** @param forget forgets jobs that are old enough */
  constructor(options: Parameters<typeof settleLeftovers>[0], forget: () => void) {
    this.#options = options;
    this.#forget = forget;
  }

  /** Looks at once. */
  start(): void {
    this.#look();
  }

  /** Something may be left: look soon. */
  poke(): void {
    this.#pauses.restart();
    this.#delayMs = this.#pauses.next();
    this.#again();
  }

  async stop(): Promise<void> {
    clearTimeout(this.#timer);
    this.#ending.abort();
    await this.#round;
  }

  #again(): void {
    clearTimeout(this.#timer);
    if (this.#ending.signal.aborted) return;
    this.#timer = setTimeout(() => {
      this.#look();
    }, this.#delayMs);
  }

  #look(): void {
    this.#round = this.#round.then(async () => {
      try {
        const { left } = await settleLeftovers(this.#options, this.#ending.signal);
        this.#forget();
        this.#delayMs = left ? this.#pauses.next() : settleBackOff.longestMs;
      } catch (thrown) {
        this.#options.log.error({ error: toFerryError(thrown).message }, 'the caretaker failed');
      }
      this.#again();
    });
  }
}
