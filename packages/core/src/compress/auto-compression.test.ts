import { describe, expect, it } from 'vitest';
import { AutoCompression, type Decision } from './auto-compression.js';

/** A stream whose pieces come to these ratios, and what was done with each. */
class Stream {
  nowMs = 0;
  readonly auto = new AutoCompression(() => this.nowMs);

  /** @param stepMs how long each piece takes @param waitMs how long of that the compressor was waited for */
  run(pieces: number, ratio: number, stepMs = 10, waitMs = 0): Decision[] {
    return Array.from({ length: pieces }, () => {
      this.nowMs += stepMs;
      const decision = this.auto.next();
      const isCompressed = decision === 'compress' || (decision === 'sample' && this.auto.sampled(ratio));
      if (!isCompressed) return decision;
      this.auto.waited(waitMs);
      this.auto.compressed(ratio);
      return 'compress';
    });
  }
}

const count = (decisions: readonly Decision[], kind: Decision): number =>
  decisions.filter((each) => each === kind).length;

describe('auto compression', () => {
  it('of what does not become smaller only samples: the first piece, and every sixteenth', () => {
    const decisions = new Stream().run(160, 1);
    expect(decisions.flatMap((each, index) => (each === 'plain' ? [] : [index]))).toEqual(
      Array.from({ length: 10 }, (_, index) => index * 16),
    );
    expect(count(decisions, 'compress')).toBe(0);
  });

  it('samples one piece, though the next is asked about before the sample is there', () => {
    const auto = new AutoCompression();
    expect([auto.next(), auto.next(), auto.next()]).toEqual(['sample', 'plain', 'plain']);
  });

  it('of what becomes smaller compresses everything', () => {
    expect(count(new Stream().run(1000, 0.3), 'compress')).toBe(1000);
  });

  it('follows a stream that changes, both ways', () => {
    const stream = new Stream();
    expect(count(stream.run(100, 1), 'compress')).toBe(0);
    expect(count(stream.run(100, 0.3), 'compress')).toBeGreaterThan(84);
    expect(count(stream.run(100, 1), 'compress')).toBeLessThan(24);
  });

  it('lets go for a while when the stream waits for the compressor, each time for longer', () => {
    const stream = new Stream();
    const decisions = stream.run(2000, 0.3, 10, 8);
    const runs = decisions.join(' ').match(/(compress ?)+|(plain ?|sample ?)+/g) ?? [];
    const lengths = runs.map((run) => run.trim().split(' ').length);
    expect(lengths.slice(0, 6)).toEqual([32, 64, 32, 128, 32, 256]);
  });

  it('keeps on when the wire is what is waited for', () => {
    expect(count(new Stream().run(2000, 0.3, 10, 3), 'compress')).toBe(2000);
  });
});
