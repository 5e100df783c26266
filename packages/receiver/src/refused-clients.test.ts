import { describe, expect, it, vi } from 'vitest';
import { createLogger } from '@rbdferry/core/log/logger.js';
import { RefusedClients } from './refused-clients.js';

const counting = () => {
  const log = createLogger('test', 'silent');
  const warn = vi.spyOn(log, 'warn');
  const onRefused = vi.fn();
  let nowMs = 1_000_000;
  const refused = new RefusedClients({ log, onRefused, now: () => nowMs });
  const pass = (ms: number) => (nowMs += ms);
  return { refused, warn, onRefused, pass };
};
const scan = { reason: 'protocol', address: '192.0.2.1', detail: 'ERR_SSL_HTTP_REQUEST' } as const;

describe('refused clients', () => {
  it('are told with reason, address and name', () => {
    const { refused, warn } = counting();
    refused.refused({ reason: 'unknown_client', address: '192.0.2.9', client: 'agent9', detail: 'no such client' });
    expect(warn).toHaveBeenCalledWith(
      { reason: 'unknown_client', address: '192.0.2.9', client: 'agent9', error: 'no such client' },
      'refused a client',
    );
  });

  it('do not fill the log, hide no other reason, and are all counted', () => {
    const { refused, warn, onRefused, pass } = counting();
    for (let i = 0; i < 1000; i += 1) refused.refused(scan);
    expect(warn).toHaveBeenCalledTimes(5);
    refused.refused({ ...scan, reason: 'expired', detail: 'CERT_HAS_EXPIRED' });
    expect(warn).toHaveBeenLastCalledWith(expect.objectContaining({ reason: 'expired' }), 'refused a client');
    expect(onRefused).toHaveBeenCalledTimes(1001);
    pass(60_000);
    for (let i = 0; i < 1000; i += 1) refused.refused(scan);
    expect(warn).toHaveBeenCalledTimes(11);
    expect(warn.mock.calls[6]?.[0]).toMatchObject({ reason: 'protocol', untold: 995 });
    expect(warn.mock.calls[7]?.[0]).not.toHaveProperty('untold');
  });

  it('are told again when the clock was set back', () => {
    const { refused, warn, pass } = counting();
    for (let i = 0; i < 6; i += 1) refused.refused(scan);
    pass(-500_000);
    refused.refused(scan);
    expect(warn).toHaveBeenCalledTimes(6);
  });

  it('that only look whether the port is open are no warning', () => {
    const { refused, warn, onRefused } = counting();
    refused.refused({ ...scan, reason: 'closed' });
    expect(warn).not.toHaveBeenCalled();
    expect(onRefused).toHaveBeenCalledWith('closed');
  });
});
