/** `2026-11-24T02:26:43.540+0000 7f3a2628f380 -1 librbd: text`: what Ceph's logger puts before a line. */
const logPrefix = /^\d{4}-\d{2}-\d{2}T\S+\s+[0-9a-f]+\s+-?\d+\s+/;
/** `librbd::image::CreateRequest: 0x562491dea990 validate_data_pool: text`: where in librbd it comes from. */
const origin = /^(?:[A-Za-z]+(?:::[A-Za-z_]+)*: (?:0x[0-9a-f]+ )?(?:[a-z_]+: )?)/;
const ownPrefix = /^rbd: (?:error: )?/;
/** A failure is told once on each level it passes, and the last levels tell enough. */
const maxOwnLines = 2;
const progress = /^(?:[A-Z][A-Za-z -]*: )?\d+% complete\.\.\./;
const bareReason = /: \(\d+\) [A-Z][A-Za-z /-]*$/;

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
    .split(/[\r\n]+/)
    .map(parseLine)
    .filter(({ text }) => text !== '' && !progress.test(text));
  const own = lines.filter(({ fromLog }) => !fromLog);
  const logged = lines
    .filter(({ fromLog }) => fromLog)
    .at(-1)
    ?.text.replace(origin, '');
  const marked = own.filter(({ text }) => ownPrefix.test(text));
  const said = (marked.length > 0 ? marked.slice(-maxOwnLines) : own.slice(-1)).map(({ text }) =>
    text.replace(ownPrefix, '').replace(/[.!]$/, ''),
  );
  if (said.length === 0) return logged ?? '';
  return logged !== undefined && said.length === 1 && bareReason.test(said.join())
    ? `${said.join()} (${logged})`
    : said.join('; ');
};
