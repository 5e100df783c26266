/** `2026-11-24T02:26:43.540+0000 7f3a2628f380 -1 librbd: text`: what Ceph's logger puts before a line. */
const logPrefix = /^\d{4}-\d{2}-\d{2}T\S+\s+[0-9a-f]+\s+-?\d+\s+/;
/** The logger's thread may print into the middle of a line of the program's own. */
const lineBreak = /[\r\n]+|(?=\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d+[+-]\d{4} [0-9a-f]+ +-?\d+ )/;
/** `librbd::image::CreateRequest: 0x562491dea990 validate_data_pool: text`: where in librbd it comes from. */
const origin = /^(?:[A-Za-z]+(?:::[A-Za-z_]+)*: (?:0x[0-9a-f]+ )?(?:[a-z_]+: )?)/;
const ownPrefix = /^rbd: (?:error: )?/;
/** What to do about watchers, which our own hint says. */
const advice = /^This means the image is still open/;
/** A failure is told once on each level it passes, and the last levels tell enough. */
const maxOwnLines = 4;
const progress = /^(?:[A-Z][A-Za-z -]*: )?\d+% complete\.\.\./;
const bareReason = /:(?: \(\d+\) [A-Z][A-Za-z /-]*)?$/;
/** Of the thousand lines of a crash, the one that says why. */
const crash = /FAILED ceph_\w+\(.*\)|Caught signal \([^)]*\)|terminate called after throwing .*/;
/** The end of a crash, where its beginning is more than is kept. */
const crashDump = /^--- (?:begin|end) dump of recent events ---$/m;

/** A key of CephX, and what the parser of a keyring says of one that it cannot read. */
const secrets = /\b(type=key val=)\S+|\bA[gQ][A-Za-z0-9+/]{36,}={0,2}/g;

export interface Line {
  readonly text: string;
  /** Who says it: the program itself, the library that does the work, or any other part of Ceph by the logger. */
  readonly from: 'program' | 'librbd' | 'log';
}

const parseLine = (raw: string): Line => {
  const text = raw.replace(logPrefix, '').trim();
  if (text === raw.trim()) return { text, from: 'program' };
  return { text, from: text.startsWith('librbd') ? 'librbd' : 'log' };
};

/** Standard error of a Ceph program line by line, without its progress, and without secrets. */
export const linesOf = (stderr: string): Line[] =>
  stderr
    .replaceAll(secrets, (_, label: string | undefined) => `${label ?? ''}(hidden)`)
    .split(lineBreak)
    .map(parseLine)
    .filter(({ text }) => text !== '' && !progress.test(text));

/**
 * What a Ceph program said about its failure, as one line: its own last messages, without prefixes; when the only one is
 * an errno (`create error: (2) No such file or directory`), with the library's last message behind it. Of a crash, why it did. Empty
 * when it said nothing.
 *
 * @param stderr the tail of its standard error, with progress lines, timestamps and thread ids
 */
export const whatItSaid = (stderr: string): string => {
  const lines = linesOf(stderr);
  const crashed = lines.map(({ text }) => crash.exec(text)?.[0]).find((reason) => reason !== undefined);
  if (crashed !== undefined || crashDump.test(stderr))
    return crashed === undefined ? 'it crashed' : `it crashed: ${crashed}`;
  const own = lines.filter(({ text, from }) => from === 'program' && !advice.test(text));
  const logged = (from: Line['from']) => lines.findLast((line) => line.from === from)?.text.replace(origin, '');
  const library = logged('librbd');
  const last = own.slice(-maxOwnLines).map(({ text }) => text.replace(ownPrefix, '').replace(/[.!]$/, ''));
  const said = last.join('; ').replaceAll(':; ', ': ');
  if (said === '') return library ?? logged('log') ?? '';
  return library !== undefined && !said.includes('; ') && bareReason.test(said) ? `${said} (${library})` : said;
};
