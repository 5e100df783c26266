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

interface Line {
  readonly text: string;
  readonly fromLog: boolean;
}

const parseLine = (raw: string): Line => {
  const text = raw.replace(logPrefix, '').trim();
  return { text, fromLog: text !== raw.trim() };
};

/**
 * What a Ceph program said about its failure, as one line: its own last messages, without prefixes; when the only one is
 * an errno (`create error: (2) No such file or directory`), with the library's last message behind it. Empty when it said nothing.
 *
 * @param stderr the tail of its standard error, with progress lines, timestamps and thread ids
 */
export const whatItSaid = (stderr: string): string => {
  const lines = stderr
    .split(lineBreak)
    .map(parseLine)
    .filter(({ text }) => text !== '' && !progress.test(text));
  const own = lines.filter(({ text, fromLog }) => !fromLog && !advice.test(text));
  const logged = lines.findLast(({ fromLog }) => fromLog)?.text.replace(origin, '');
  const last = own.slice(-maxOwnLines).map(({ text }) => text.replace(ownPrefix, '').replace(/[.!]$/, ''));
  const said = last.join('; ').replaceAll(':; ', ': ');
  if (said === '') return logged ?? '';
  return logged !== undefined && !said.includes('; ') && bareReason.test(said) ? `${said} (${logged})` : said;
};
