/**
 * Gathers small chunks into buffers of `sizeBytes`, with one copy; the last may be shorter. A child's output comes in
 * chunks of about 20 KB, and a message per chunk costs more than the copy.
 *
 * Each buffer is fresh: the receiver of one may keep it.
 */
export async function* gather(
  chunks: AsyncIterable<Uint8Array>,
  sizeBytes: number,
): AsyncGenerator<Uint8Array, void, undefined> {
  let buffer = Buffer.allocUnsafeSlow(sizeBytes);
  let filled = 0;
  for await (const chunk of chunks) {
    let rest = chunk;
    while (rest.length > 0) {
      const taken = Math.min(rest.length, sizeBytes - filled);
      buffer.set(taken === rest.length ? rest : rest.subarray(0, taken), filled);
      filled += taken;
      rest = rest.subarray(taken);
      if (filled < sizeBytes) continue;
      yield buffer;
      buffer = Buffer.allocUnsafeSlow(sizeBytes);
      filled = 0;
    }
  }
  if (filled > 0) yield buffer.subarray(0, filled);
}
