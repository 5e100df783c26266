import { print } from '../output.js';

/**
 * One line of JSON. Keys are camelCase, sizes numbers of bytes, dates ISO 8601 in UTC. A size that a JSON number cannot hold
 * exactly (above 2^53, 8 PiB) is a string of digits.
 */
export const toJson = (value: unknown): string =>
  JSON.stringify(value, (_, each: unknown) => {
    if (typeof each !== 'bigint') return each;
    return each <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(each) : each.toString();
  });

/**
 * Writes an array, an element a line, as the elements arrive. Nothing is written when the first one never comes because of an
 * error; a later error leaves the array open, so that nobody takes a part for the whole.
 */
export const printJsonArray = async (values: AsyncIterable<unknown> | Iterable<unknown>): Promise<void> => {
  let count = 0;
  for await (const value of values) {
    await print(`${count === 0 ? '[' : ',\n'}${toJson(value)}`);
    count += 1;
  }
  await print(count === 0 ? '[]\n' : ']\n');
};
