/** What a parsing constructor of the model answers: the value, or a lower-case sentence that quotes what was wrong. */
export type Parsed<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly problem: string };

export const parsed = <T>(value: T): Parsed<T> => ({ ok: true, value });
export const unparsed = <T>(problem: string): Parsed<T> => ({ ok: false, problem });

/** The text in quotes with control characters made visible, cut to a length that fits a log line. */
export const quoted = (text: string): string => JSON.stringify(text.length > 120 ? `${text.slice(0, 117)}...` : text);
