import { readFile } from 'node:fs/promises';
import { isMap, isPair, isScalar, LineCounter, parseDocument, type Document, type Node } from 'yaml';
import type { z } from 'zod';
import { FerryError } from '../errors/ferry-error.js';

/**
 * Reads a YAML configuration file and checks it against a schema.
 *
 * @throws CONFIG_MISSING when the file cannot be read; CONFIG_INVALID with `path:line:column`, the key and what was wrong
 */
export const loadConfig = async <T>(path: string, schema: z.ZodType<T>): Promise<T> => {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new FerryError('CONFIG_MISSING', `cannot read the configuration file ${JSON.stringify(path)}: ${why}`, {
      cause,
    });
  });
  return parseConfig(text, path, schema);
};

/** {@link loadConfig} on text; `path` is only for messages. */
export const parseConfig = <T>(text: string, path: string, schema: z.ZodType<T>): T => {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const at = (offset: number): string => {
    const { line, col } = lines.linePos(offset);
    return `${path}:${line}:${col}`;
  };
  const [broken] = document.errors;
  if (broken !== undefined) {
    throw new FerryError('CONFIG_INVALID', `${at(broken.pos[0])}: ${broken.message}`);
  }
  const checked = schema.safeParse(document.toJS());
  if (checked.success) return checked.data;
  const problems = checked.error.issues.map((issue) => {
    const key = issue.path.join('.');
    const where = at(offsetOf(document, issue));
    return `${where}: ${key === '' ? '' : `${key}: `}${issue.message}`;
  });
  throw new FerryError('CONFIG_INVALID', problems.join('; '));
};

/** Where in the text the value (or the unknown key) that an issue speaks of begins; its nearest parent when it is missing. */
const offsetOf = (document: Document.Parsed, issue: z.core.$ZodIssue): number => {
  const path = issue.path.map((part) => (typeof part === 'symbol' ? String(part) : part));
  if (issue.code === 'unrecognized_keys') {
    const parent = path.length === 0 ? document.contents : document.getIn(path, true);
    const key = isMap(parent) ? parent.items.find((item) => keyText(item) === issue.keys[0])?.key : undefined;
    const offset = startOf(key);
    if (offset !== undefined) return offset;
  }
  for (let length = path.length; length > 0; length -= 1) {
    const offset = startOf(document.getIn(path.slice(0, length), true));
    if (offset !== undefined) return offset;
  }
  return startOf(document.contents) ?? 0;
};

const keyText = (item: unknown): string | undefined => {
  const key = isPair(item) ? item.key : undefined;
  return isScalar(key) ? String(key.value) : undefined;
};

const startOf = (node: unknown): number | undefined => (node as Node | null | undefined)?.range?.[0];
