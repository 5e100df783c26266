import { poisonReleased } from '@rbdferry/core/transfer/roomy-buffer.js';

/** A buffer that is given back too early shows in the content, or in the digest of what was written. */
poisonReleased();
