import { request } from 'node:http';
import { connect } from 'node:net';
import { pino } from 'pino';
import { Counter, Registry } from 'prom-client';
import { afterEach, describe, expect, it } from 'vitest';
import { serveMetrics, serveMetricsIf, type MetricsEndpoint } from './endpoint.js';

const open: MetricsEndpoint[] = [];

afterEach(async () => {
  await Promise.all(open.splice(0).map((endpoint) => endpoint.stop()));
});

/** Serves on a free port, and answers it. */
const serve = async (listen = '127.0.0.1:0'): Promise<number> => {
  const lines: { port: number }[] = [];
  const log = pino({}, { write: (line: string) => lines.push(JSON.parse(line) as { port: number }) });
  const registry = new Registry();
  new Counter({ name: 'things_total', help: 'Things.', registers: [registry] }).inc(3);
  open.push(await serveMetrics(registry, listen, log));
  return lines[0]?.port ?? 0;
};

const ask = (port: number, path: string, method = 'GET', host = '127.0.0.1') =>
  new Promise<{ status: number | undefined; type: string | undefined; length: number; body: string }>(
    (resolve, reject) => {
      request({ host, port, path, method, agent: false }, (response) => {
        let body = '';
        response.setEncoding('utf8');
        response.on('data', (text: string) => (body += text));
        response.on('end', () => {
          const { 'content-type': type, 'content-length': length } = response.headers;
          resolve({ status: response.statusCode, type, length: Number(length), body });
        });
      })
        .on('error', reject)
        .end();
    },
  );

describe('the metrics endpoint', () => {
  it('answers with the metrics, and those of the process', async () => {
    const port = await serve();
    const answer = await ask(port, '/metrics');
    expect(answer).toMatchObject({ status: 200, type: 'text/plain; version=0.0.4; charset=utf-8' });
    expect(answer.body).toContain('# TYPE things_total counter\nthings_total 3\n');
    expect(answer.body).toContain('process_resident_memory_bytes ');
    expect((await ask(port, '/metrics?name[]=things_total')).status).toBe(200);
  });

  it('answers HEAD with the head only', async () => {
    const port = await serve();
    const answer = await ask(port, '/metrics', 'HEAD');
    expect(answer).toMatchObject({ status: 200, body: '' });
    expect(answer.length).toBeGreaterThan(1000);
  });

  it.each(['/', '/metric', '/metrics/', '/metrics/x', '/..'])('has nothing at %s', async (path) => {
    const answer = await ask(await serve(), path);
    expect(answer).toMatchObject({ status: 404, body: 'the metrics are at /metrics\n' });
  });

  it.each(['POST', 'PUT', 'DELETE'])('refuses %s', async (method) => {
    expect((await ask(await serve(), '/metrics', method)).status).toBe(405);
  });

  it('listens on an IPv6 address', async () => {
    const port = await serve('[::1]:0');
    expect((await ask(port, '/metrics', 'GET', '::1')).status).toBe(200);
  });

  it('says what is wrong when it cannot listen there', async () => {
    const port = await serve();
    await expect(serve(`127.0.0.1:${port}`)).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining(`cannot listen for metrics on "127.0.0.1:${port}"`) as string,
    });
    await expect(serve('192.0.2.1:0')).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  });

  it('stops, whoever is still connected', async () => {
    const port = await serve();
    const idle = connect(port, '127.0.0.1');
    await new Promise((resolve) => idle.once('connect', resolve));
    const closed = new Promise((resolve) => idle.once('close', resolve));
    idle.on('error', () => {});
    idle.resume();
    await open.splice(0)[0]?.stop();
    await closed;
    await expect(ask(port, '/metrics')).rejects.toThrow('ECONNREFUSED');
  });

  it('is not there when the configuration says nothing of it', async () => {
    const registry = new Registry();
    await (await serveMetricsIf(registry, undefined, pino({ level: 'silent' }))).stop();
    expect(await registry.metrics()).toBe('\n');
  });
});
