import type { FakeCluster } from '../fake-ceph/fake-cluster.js';

/** Everything in a cluster but what may be measured later: images and trash with contents, snapshots and metadata, a line each. */
export const describeSite = (cluster: FakeCluster): string[] => [
  ...cluster.everything().filter((line) => !line.includes(' rbdferry.usage.')),
  ...[...cluster.allImages()].map(({ id, name, head, sizeBytes, metadata, snapshots }) =>
    [
      name,
      id,
      head.sha256(Number(sizeBytes)),
      ...snapshots.map((each) => `${each.name} ${each.content.sha256(Number(each.sizeBytes))}`),
      ...[...metadata].filter(([key]) => !key.startsWith('rbdferry.usage.')).map(([key, value]) => `${key}=${value}`),
    ].join('\n  '),
  ),
];

const identities =
  /\d{4}-\d\d-\d\d\.\d\d:\d\d:\d\d\.\d{6}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}|(?<="streamGmac":")\w+|(?<=\.rbdferry-restore\.\S+\.)\w+/g;

/** With the times in names, the identities of clusters and the digests (of streams with such names in them) numbered in order of appearance. */
export const normalised = (lines: readonly string[]): string[] => {
  const numbers = new Map<string, number>();
  return lines.map((line) =>
    line.replace(identities, (text) => {
      const number = numbers.get(text) ?? numbers.size;
      numbers.set(text, number);
      return `<${number}>`;
    }),
  );
};
