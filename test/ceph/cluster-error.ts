/** What a test cluster, or a command against it, failed with. */
export class ClusterError extends Error {
  override readonly name = 'ClusterError';
}
