import type { HeaderRecord } from './records.js';

/** Every way in which a stream can be refused, each with its evidence. */
export type DiffProblem =
  | { readonly kind: 'bad-banner' }
  | { readonly kind: 'unknown-tag'; readonly tag: number }
  | { readonly kind: 'duplicate-record'; readonly record: HeaderRecord }
  | { readonly kind: 'record-after-data'; readonly record: HeaderRecord }
  | { readonly kind: 'missing-size' }
  | { readonly kind: 'number-too-large'; readonly value: bigint }
  | {
      readonly kind: 'name-too-long';
      readonly nameBytes: number;
      readonly maxNameBytes: number;
    }
  | { readonly kind: 'bad-name'; readonly reason: 'empty' | 'not-utf8' }
  | { readonly kind: 'empty-extent'; readonly extentOffset: bigint }
  | {
      readonly kind: 'extent-past-size';
      readonly extentOffset: bigint;
      readonly extentBytes: bigint;
      readonly sizeBytes: bigint;
    }
  | {
      readonly kind: 'extent-out-of-order' | 'extent-overlap';
      readonly extentOffset: bigint;
    }
  | { readonly kind: 'window-too-scattered'; readonly maxRanges: number }
  | { readonly kind: 'trailing-bytes' }
  | { readonly kind: 'truncated'; readonly inside: StreamPlace }
  | {
      readonly kind: 'unexpected-from-snap' | 'unexpected-to-snap';
      readonly expected: string | null;
      readonly actual: string | null;
    }
  | {
      readonly kind: 'unexpected-size';
      readonly expected: bigint;
      readonly actual: bigint;
    };

export type DiffProblemKind = DiffProblem['kind'];

/** Where a stream may stop; `between-records` means that only the end record is missing. */
export type StreamPlace = 'banner' | 'between-records' | 'record-header' | 'payload';

/** A stream that is not a well-formed diff, or not the diff that was expected. */
export class DiffError extends Error {
  override readonly name = 'DiffError';

  /**
   * @param problem what is wrong, with its evidence
   * @param offset position in the stream of the offending record (its tag byte); for `truncated` the
   *   stream's length, for `trailing-bytes` the first byte after the end record
   */
  constructor(
    readonly problem: DiffProblem,
    readonly offset: bigint,
  ) {
    super(`rbd diff stream at byte ${offset}: ${describe(problem)}`);
  }

  get kind(): DiffProblemKind {
    return this.problem.kind;
  }
}

function describe(problem: DiffProblem): string {
  switch (problem.kind) {
    case 'bad-banner':
      return 'it does not begin with "rbd diff v1"';
    case 'unknown-tag':
      return `unknown record tag ${quoteTag(problem.tag)}`;
    case 'duplicate-record':
      return `a second "${problem.record}" record`;
    case 'record-after-data':
      return `a "${problem.record}" record after the first extent`;
    case 'missing-size':
      return 'no "size" record before the first extent';
    case 'number-too-large':
      return `a size, offset or length of ${problem.value}, at most ${Number.MAX_SAFE_INTEGER} is possible`;
    case 'name-too-long':
      return `a snapshot name of ${problem.nameBytes} bytes, at most ${problem.maxNameBytes} are allowed`;
    case 'bad-name':
      return problem.reason === 'empty' ? 'an empty snapshot name' : 'a snapshot name that is not valid utf-8';
    case 'empty-extent':
      return `an extent without length at image offset ${problem.extentOffset}`;
    case 'extent-past-size':
      return `extent of ${problem.extentBytes} bytes at image offset ${problem.extentOffset} ends past the image size ${problem.sizeBytes}`;
    case 'extent-out-of-order':
      return `extent at image offset ${problem.extentOffset} comes after a later one`;
    case 'extent-overlap':
      return `extent at image offset ${problem.extentOffset} overlaps an earlier one`;
    case 'window-too-scattered':
      return `more than ${problem.maxRanges} separate extents inside one order window`;
    case 'trailing-bytes':
      return 'bytes after the end record';
    case 'truncated':
      return `the stream stops ${describePlace(problem.inside)}`;
    case 'unexpected-from-snap':
      return `from-snapshot is ${quoteName(problem.actual)}, expected ${quoteName(problem.expected)}`;
    case 'unexpected-to-snap':
      return `to-snapshot is ${quoteName(problem.actual)}, expected ${quoteName(problem.expected)}`;
    case 'unexpected-size':
      return `image size is ${problem.actual}, expected ${problem.expected}`;
  }
}

function describePlace(place: StreamPlace): string {
  switch (place) {
    case 'banner':
      return 'inside the banner';
    case 'between-records':
      return 'without an end record';
    case 'record-header':
      return "inside a record's header";
    case 'payload':
      return "inside an extent's payload";
  }
}

function quoteTag(tag: number): string {
  const hex = `0x${tag.toString(16).padStart(2, '0')}`;
  return tag > 0x20 && tag < 0x7f ? `${hex} ("${String.fromCharCode(tag)}")` : hex;
}

function quoteName(name: string | null): string {
  return name === null ? 'absent' : JSON.stringify(name);
}
