export interface ConfOptions {
  readonly fsid: string;
  readonly dir: string;
  /** The monitor's port; the daemons use the `PORTS_PER_CLUSTER - 1` ports after it. */
  readonly port: number;
  readonly objectStore: 'memstore' | 'bluestore';
  readonly memstoreBytes: number;
  readonly bluestoreBytes: number;
  readonly fastPaxos: boolean;
  /** Settings for `[global]`; they win over ours. */
  readonly extraConf: Readonly<Record<string, string>>;
}

type Section = Readonly<Record<string, string | number | boolean>>;

export const MON_ADDRESS = '127.0.0.1';
/** One port each for the monitor and the manager, four for an OSD, with room for restarts. */
export const PORTS_PER_CLUSTER = 64;

/** The whole ceph.conf of a test cluster, for daemons and clients. */
export function renderConf(options: ConfOptions): string {
  const sections: Record<string, Section> = {
    global: { ...globalSection(options), ...options.extraConf },
    mon: monSection(options),
    osd: osdSection(options),
    mgr: { mgr_data: `${options.dir}/mgr.x`, mgr_stats_period: 1, mgr_initial_modules: '' },
    // Clients run side by side under one name: no socket or log file they could fight over.
    client: { admin_socket: '', log_file: '' },
  };
  return Object.entries(sections)
    .map(([name, section]) => renderSection(name, omitKeys(section, name, options.extraConf)))
    .join('\n');
}

function globalSection({ fsid, dir, port }: ConfOptions): Section {
  return {
    fsid,
    mon_host: `[v2:${MON_ADDRESS}:${port}]`,
    public_addr: MON_ADDRESS,
    ms_bind_ipv6: false,
    ms_bind_msgr1: false,
    ms_bind_port_min: port + 1,
    ms_bind_port_max: port + PORTS_PER_CLUSTER - 1,
    // A monitor whose port is taken should say so now, not after three waits of five seconds.
    ms_bind_retry_count: 1,
    ms_bind_retry_delay: 0,
    keyring: `${dir}/$name.keyring`,
    run_dir: dir,
    admin_socket: `${dir}/$name.asok`,
    pid_file: `${dir}/$name.pid`,
    log_file: `${dir}/$name.log`,
    crash_dir: `${dir}/crash`,
    auth_allow_insecure_global_id_reclaim: false,
    osd_pool_default_size: 1,
    osd_pool_default_min_size: 1,
    osd_pool_default_pg_num: 1,
    osd_pool_default_pg_autoscale_mode: 'off',
    osd_crush_chooseleaf_type: 0,
  };
}

function monSection({ dir, fastPaxos }: ConfOptions): Section {
  const paxos = { paxos_propose_interval: 0.02, paxos_min_wait: 0.01 };
  return {
    mon_data: `${dir}/mon.a`,
    keyring: `${dir}/mon.a/keyring`,
    mon_cluster_log_file: `${dir}/cluster.log`,
    mon_allow_pool_delete: true,
    mon_allow_pool_size_one: true,
    mon_warn_on_pool_no_redundancy: false,
    // Erasure-coded pools on a memstore.
    mon_debug_no_require_bluestore_for_ec_overwrites: true,
    // Release 20 takes keys of type `aes`, which all releases read, for an emergency only. Older ones do not know the setting.
    mon_auth_emergency_allowed_ciphers: 'aes,aes256k',
    // By default a monitor ends itself on a disk that is 95 % full.
    mon_data_avail_warn: 1,
    mon_data_avail_crit: 0,
    ...(fastPaxos ? paxos : {}),
  };
}

function osdSection(options: ConfOptions): Section {
  return {
    osd_data: `${options.dir}/osd.$id`,
    osd_objectstore: options.objectStore,
    memstore_device_bytes: options.memstoreBytes,
    bluestore_block_size: options.bluestoreBytes,
    osd_memory_target: 939_524_096,
    // How long the lock of a client that was killed stands; 30 s by default. Tests wait for it in several places.
    osd_client_watch_timeout: 10,
    // To an OSD whatever has no /sys/block is a slow disk: it would wait for 5 s after each object of a snapshot that was removed.
    osd_snap_trim_sleep_hdd: 0,
    osd_delete_sleep_hdd: 0,
    // For how long a placement group may be read after its last lease, in heartbeat graces of 20 s; 0.8 by default. An OSD
    // that was stopped for longer, and gets an operation before it renews the lease, keeps the group "laggy": with no other
    // OSD to acknowledge a lease it waits until the next peering. 6 of 68 that were stopped for 24 to 34 s hung for ever.
    osd_pool_default_read_lease_ratio: 1000,
  };
}

/** A setting in a daemon's own section would hide one the caller gave for `[global]`. */
function omitKeys(section: Section, name: string, extra: Readonly<Record<string, string>>): Section {
  if (name === 'global') return section;
  return Object.fromEntries(Object.entries(section).filter(([key]) => !(key in extra)));
}

function renderSection(name: string, section: Section): string {
  const lines = Object.entries(section).map(([key, value]) => `${key} = ${String(value)}`);
  return [`[${name}]`, ...lines, ''].join('\n');
}
