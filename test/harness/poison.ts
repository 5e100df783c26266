import { poisonReleased } from '@rbdferry/core/transfer/lease.js';

/** A buffer that is given back too early shows in the content, or in the digest of what was written. */
poisonReleased();
