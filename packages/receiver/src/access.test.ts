import { describe, expect, it } from 'vitest';
import { Access } from './access.js';
import { receiverConfigSchema, type ReceiverConfig } from './config.js';

const old = Array<string>(32).fill('AB').join(':');
const renewed = Array<string>(32).fill('CD').join(':');

const clientsOf = (clients: unknown): ReceiverConfig['clients'] =>
  receiverConfigSchema.parse({
    tls: { ca: 'a', cert: 'b', key: 'c' },
    ceph: { user: 'x' },
    stores: { rbd2: { pool: 'rbd2' } },
    clients,
  }).clients;

const denied = expect.objectContaining({ code: 'ACCESS_DENIED' });

describe('who a client is', () => {
  it('says the name in its certificate, whichever certificate of the CA that is', () => {
    const access = new Access(() => clientsOf({ agent1: { stores: ['rbd2'] } }), new Map());
    for (const fingerprint of [old, renewed])
      expect(access.client({ commonName: 'agent1', fingerprint })).toBe('agent1');
    for (const commonName of ['agent2', 'toString', null]) {
      expect(() => access.client({ commonName, fingerprint: old })).toThrow(denied);
    }
  });

  it('says one of its certificates where they are listed, from the next call on', () => {
    let clients = clientsOf({ agent1: { stores: ['rbd2'] } });
    const access = new Access(() => clients, new Map());
    const stolen = { commonName: 'agent1', fingerprint: old };
    expect(access.client(stolen)).toBe('agent1');
    clients = clientsOf({ agent1: { stores: ['rbd2'], certificates: [renewed.toLowerCase().replaceAll(':', '')] } });
    expect(() => access.client(stolen)).toThrow(
      expect.objectContaining({ code: 'ACCESS_DENIED', message: expect.stringContaining(old) }),
    );
    expect(() => access.client({ commonName: 'agent1', fingerprint: null })).toThrow(denied);
    expect(access.client({ commonName: 'agent1', fingerprint: renewed })).toBe('agent1');
    expect(access.storesOf('agent1')).toEqual(['rbd2']);
  });

  it('is not told by half a fingerprint', () => {
    expect(() => clientsOf({ agent1: { stores: ['rbd2'], certificates: ['AB:CD'] } })).toThrow(
      'expected a SHA-256 fingerprint',
    );
  });
});
