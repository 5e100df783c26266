import { visible } from '../output.js';
import { colors } from './colors.js';

export interface Column<Row> {
  readonly title: string;
  /** In cells of a terminal, with the space behind it; as wide as its widest text when left out. */
  readonly width?: number;
  readonly right?: boolean;
  readonly cell: (row: Row) => string;
  readonly paint?: (row: Row) => (text: string) => string;
}

const gap = 2;

/** A table without lines, which a terminal's selection and `awk` both like. A text that is too long for its column moves the rest of its line. */
export const table = <Row>(columns: readonly Column<Row>[], rows: readonly Row[]): string => {
  const drawn = columns.map((column) => drawColumn(column, rows));
  return [-1, ...rows.keys()].map((row) => lineOf(drawn.map((cells) => cells[row + 1] ?? ''))).join('\n');
};

const lineOf = (cells: readonly string[]): string => cells.join(' '.repeat(gap)).trimEnd();

/** The title and the cells of a column, all of one width. */
const drawColumn = <Row>({ title, width, right, cell, paint }: Column<Row>, rows: readonly Row[]): string[] => {
  const texts = rows.map((row) => visible(cell(row)));
  const wide = width === undefined ? widest([title, ...texts]) : width - gap;
  const fit = (text: string, painted: string) => {
    const blanks = ' '.repeat(Math.max(0, wide - widthOf(text)));
    return right === true ? blanks + painted : painted + blanks;
  };
  return [
    fit(title, colors.dim(title)),
    ...rows.map((row, index) => {
      const text = texts[index] ?? '';
      return fit(text, paint === undefined ? text : paint(row)(text));
    }),
  ];
};

const widest = (texts: readonly string[]): number => texts.reduce((most, text) => Math.max(most, widthOf(text)), 0);

const plain = /^[\x20-\x7e]*$/;
const narrow = /^[\uff61-\uffdc]/;
const wideLetters =
  /^(?:[\u1100-\u115f\u3000-\u303e\uff01-\uff60\uffe0-\uffe6]|\p{Script=Han}|\p{Script=Hiragana}|\p{Script=Katakana}|\p{Script=Hangul}|\p{Emoji_Presentation})/u;

/** Cells that a text takes on a terminal: two for the letters of East Asia and for emoji, none for marks that go with a letter. */
export const widthOf = (text: string): number => {
  if (plain.test(text)) return text.length;
  let width = 0;
  for (const { segment } of new Intl.Segmenter().segment(text))
    width += !narrow.test(segment) && wideLetters.test(segment) ? 2 : 1;
  return width;
};
