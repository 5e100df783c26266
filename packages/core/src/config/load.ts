import { readFile } from 'node:fs/promises';
import {
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  visit,
  type Document,
  type Node,
  type Pair,
} from 'yaml';
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
  const at = ({ offset, what }: Problem): string => {
    const { line, col } = lines.linePos(offset);
    return `${path}:${line}:${col}: ${what}`;
  };
  const broken = brokenYaml(document);
  if (broken !== undefined) throw new FerryError('CONFIG_INVALID', at(broken));
  const checked = schema.safeParse(valueOf(document, path));
  if (checked.success) return checked.data;
  const problems = checked.error.issues.flatMap((issue) => problemsOf(document, issue)).map(at);
  throw new FerryError('CONFIG_INVALID', problems.join('; '));
};

interface Problem {
  /** Where in the text. */
  readonly offset: number;
  readonly what: string;
}

/** What keeps the text from being one value. */
const brokenYaml = (document: Document.Parsed): Problem | undefined => {
  const [error] = document.errors;
  if (error !== undefined) {
    const what = error.code === 'MULTIPLE_DOCS' ? 'a second document begins, expected one' : error.message;
    return { offset: error.pos[0], what };
  }
  let unresolved: Problem | undefined;
  visit(document, {
    Alias(_, node) {
      if (node.resolve(document) !== undefined) return;
      unresolved = { offset: startOf(node) ?? 0, what: `there is no anchor &${node.source} before this alias` };
      return visit.BREAK;
    },
  });
  return unresolved;
};

/** The document as plain values. Aliases of aliases that would grow without bounds are refused. */
const valueOf = (document: Document.Parsed, path: string): unknown => {
  try {
    return document.toJS();
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new FerryError('CONFIG_INVALID', `${path}:1:1: ${why}`, { cause });
  }
};

type Issue = z.core.$ZodIssue;

/** One issue as problems, in words for somebody who writes the file, each where its value (or key) begins. */
const problemsOf = (document: Document.Parsed, issue: Issue): Problem[] => {
  const path = issue.path.map(String);
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => problem(keyOffset(document, [...path, key]), [...path, key], 'unknown key'));
  }
  if (issue.code === 'invalid_key') {
    return issue.issues.map(({ message }) => problem(keyOffset(document, path), path, message));
  }
  return [problem(valueOffset(document, path), path, wordsOf(issue, document, path))];
};

const problem = (offset: number, path: readonly string[], what: string): Problem => {
  const key = path.join('.');
  return { offset, what: key === '' ? what : `${key}: ${what}` };
};

const wordsOf = (issue: Issue, document: Document.Parsed, path: readonly string[]): string => {
  if (issue.code !== 'invalid_type') return issue.message;
  if (path.length > 0 && find(document, path) === undefined) return 'is missing';
  return issue.message.replace(/^Invalid input: /, '').replace(', received ', ', not ');
};

/** Where the value begins; when it is missing, its nearest parent. */
const valueOffset = (document: Document.Parsed, path: readonly string[]): number => {
  for (let length = path.length; length > 0; length -= 1) {
    const offset = startOf(find(document, path.slice(0, length))?.value);
    if (offset !== undefined) return offset;
  }
  return startOf(document.contents) ?? 0;
};

const keyOffset = (document: Document.Parsed, path: readonly string[]): number =>
  startOf(find(document, path)?.key) ?? valueOffset(document, path);

/** What stands at the path. Keys are compared as text: a key that YAML takes for a number is one, too. */
const find = (
  document: Document.Parsed,
  path: readonly string[],
): { readonly key: unknown; readonly value: unknown } | undefined => {
  let found: { key: unknown; value: unknown } | undefined = { key: undefined, value: document.contents };
  for (const part of path) {
    const parent: unknown = isAlias(found?.value) ? found.value.resolve(document) : found?.value;
    if (isMap(parent)) found = parent.items.find((pair) => keyText(pair) === part);
    else if (isSeq(parent))
      found = Number(part) in parent.items ? { key: undefined, value: parent.get(Number(part), true) } : undefined;
    else return undefined;
  }
  return found;
};

const keyText = ({ key }: Pair): string | undefined => (isScalar(key) ? String(key.value) : undefined);

const startOf = (value: unknown): number | undefined => (isNode(value) ? (value as Node).range?.[0] : undefined);
