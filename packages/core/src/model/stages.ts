/**
 * A transfer is a pipeline: the same bytes go through every stage, at the pace of the slowest. Which one that is shows in who
 * waits for whom, so each end counts how long it waited for the side that its bytes come from and for the one where they go.
 */
export type Stage = 'source' | 'wire' | 'target' | 'limit';

export const stageNames = ['source', 'wire', 'target', 'limit'] as const satisfies readonly Stage[];

/** Which end of a transfer somebody is: the one that has the source, or the one that has the target. */
export type TransferEnd = 'sender' | 'taker';

/** What one end has counted so far. */
export interface Waits {
  /** Bytes of the diff stream that have come past it. */
  readonly bytes: number;
  /** Milliseconds of waiting for the side that the bytes come from. */
  readonly upstreamMs: number;
  /** Milliseconds of waiting for the side where the bytes go. */
  readonly downstreamMs: number;
  /** Milliseconds of waiting because of a limit of bandwidth; part of neither of the two. */
  readonly limitMs: number;
}

export interface StageView {
  /** How long the transfer waited for this stage, in milliseconds. */
  readonly waitedMs: number;
  /**
   * Bytes for each second of waiting: what the stage can do at least; for the bottleneck, what it does. Null when it was
   * hardly waited for.
   */
  readonly bytesPerSecond: number | null;
}

/** A transfer's stages. A stage is null while it is not known: one end alone cannot tell the wire from what lies behind it. */
export interface Stages {
  readonly source: StageView | null;
  readonly wire: StageView | null;
  readonly target: StageView | null;
  /** What limits of bandwidth held up; null when they held up nothing. */
  readonly limit: StageView | null;
  /** The stage that was waited for most; null while that is not known. */
  readonly bottleneck: Stage | null;
}

/** What the two ends counted, put together; null for an end that was not heard of. */
export const stagesOf = (sender: Waits | null, taker: Waits | null): Stages => {
  const source = sender === null ? null : stageView(sender.bytes, sender.upstreamMs);
  const target = taker === null ? null : stageView(taker.bytes, taker.downstreamMs);
  const limit = limitView(sender, taker);
  if (sender !== null && taker !== null) {
    // What both ends waited for and neither of them explains. The counts are not of the same moment: hence the smaller one.
    const unexplained = Math.min(
      sender.downstreamMs - taker.downstreamMs - taker.limitMs,
      taker.upstreamMs - sender.upstreamMs - sender.limitMs,
    );
    const wire = stageView(taker.bytes, Math.max(0, unexplained));
    return { source, wire, target, limit, bottleneck: slowest({ source, wire, target, limit }) };
  }
  return { source, wire: null, target, limit, bottleneck: knownFromOneEnd(sender, taker) };
};

/** Both ends of a restore hold to the limit, and at the same time: the longer wait is that of the transfer. */
const limitView = (sender: Waits | null, taker: Waits | null): StageView | null => {
  const limitMs = Math.max(sender?.limitMs ?? 0, taker?.limitMs ?? 0);
  return limitMs < 1 ? null : stageView((taker ?? sender)?.bytes ?? 0, limitMs);
};

const stageView = (bytes: number, waitedMs: number): StageView => ({
  waitedMs: Math.round(waitedMs),
  bytesPerSecond: waitedMs < 1 ? null : Math.round((bytes * 1000) / waitedMs),
});

const slowest = (views: Readonly<Record<Stage, StageView | null>>): Stage | null => {
  let found: Stage | null = null;
  let most = 0;
  for (const stage of stageNames) {
    const waitedMs = views[stage]?.waitedMs ?? 0;
    if (waitedMs <= most) continue;
    most = waitedMs;
    found = stage;
  }
  return found;
};

/** One end knows the bottleneck only when that is its own side, or its own limit. */
const knownFromOneEnd = (sender: Waits | null, taker: Waits | null): Stage | null => {
  const own = sender ?? taker;
  if (own === null) return null;
  const { limitMs } = own;
  const [near, far] = sender === null ? [own.downstreamMs, own.upstreamMs] : [own.upstreamMs, own.downstreamMs];
  if (limitMs > Math.max(near, far)) return 'limit';
  if (near <= Math.max(far, limitMs)) return null;
  return sender === null ? 'target' : 'source';
};

/** What an end waited for on the far side, in milliseconds, when nothing is known of the stages there; else 0. */
export const unexplainedMs = (sender: Waits | null, taker: Waits | null): number => {
  if (taker === null) return sender?.downstreamMs ?? 0;
  return sender === null ? taker.upstreamMs : 0;
};
