/** A release of Node.js that the tests are run on besides the one that runs them. */
export interface NodeRelease {
  readonly version: string;
  /** SHA-512 of the npm package with its program, by `process.arch`, as package-lock.json would have it. */
  readonly integrity: Readonly<Record<string, string>>;
}

/** The oldest and the newest that the README names. Their packages are no dependencies: each is 100 MB, and its `node` would be ours. */
export const nodeReleases: readonly NodeRelease[] = [
  {
    version: '20.19.0',
    integrity: {
      x64: 'sha512-HzVYgEgabV/n3nP2F9mcxS0Nxgg99jynX9CMovakLmSYTuTdQRbbtw0yadY8+qKcqXfiDAtb2hmtR7nDPzclGA==',
      arm64: 'sha512-kT7jX7frbsrMrXMsBaFt3Th1SWs5VjxTzd0U8vxcmdCFkaqeu5hFK0+QoYfIo5drmr3DmwJfLtO2gnD/7hNE/Q==',
    },
  },
  {
    version: '24.21.0',
    integrity: {
      x64: 'sha512-3nULszZ5X0fciYpG0t6TrdApJzAn8+FlINP6OiMX7V8HrvpATPN936U1LlReOJriLRa4e8yEqQBYCnLyPNAs7Q==',
      arm64: 'sha512-FpJRPEz2OvvTLfjIOlNGFY9JLPMKgl5m+d4oGYBLg24kJ1mmvN1Zl/HPJgF4HDaJ51ISev1l1cRZ/DM+keXW5g==',
    },
  },
];
