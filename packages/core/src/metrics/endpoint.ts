import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Registry } from 'prom-client';
import { FerryError } from '../errors/ferry-error.js';
import type { Logger } from '../log/logger.js';
import { addProcessMetrics } from './registry.js';

export interface MetricsEndpoint {
  /** Stops listening and closes what is open. */
  stop(): Promise<void>;
}

/** More scrapers at once than this are not scrapers. */
const maxConnections = 64;

/**
 * Answers `GET /metrics` (and HEAD) over plain HTTP, and nothing else. @throws CONFIG_INVALID when it cannot listen there
 *
 * @param listen `HOST:PORT`; port 0 takes a free one, which is logged
 */
export const serveMetrics = async (registry: Registry, listen: string, log: Logger): Promise<MetricsEndpoint> => {
  addProcessMetrics(registry);
  const server = createServer((request, response) => {
    answer(registry, request, response).catch((thrown: unknown) => {
      log.error({ error: thrown instanceof Error ? thrown.message : String(thrown) }, 'could not tell the metrics');
      response.destroy();
    });
  });
  server.maxConnections = maxConnections;
  const port = await bind(server, listen);
  log.info({ listen, port }, 'metrics');
  return { stop: () => close(server) };
};

/** One that need not be there. */
export const serveMetricsIf = async (
  registry: Registry,
  config: { readonly listen: string } | undefined,
  log: Logger,
): Promise<MetricsEndpoint> =>
  config === undefined ? { stop: () => Promise.resolve() } : serveMetrics(registry, config.listen, log);

const answer = async (registry: Registry, request: IncomingMessage, response: ServerResponse): Promise<void> => {
  const [path] = (request.url ?? '').split('?');
  if (path !== '/metrics') {
    end(request, response, { status: 404, text: 'the metrics are at /metrics\n' });
  } else if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('allow', 'GET, HEAD');
    end(request, response, { status: 405, text: 'only GET and HEAD\n' });
  } else {
    const text = await registry.metrics();
    end(request, response, { status: 200, text, type: registry.contentType });
  }
};

const end = (
  request: IncomingMessage,
  response: ServerResponse,
  { status, text, type = 'text/plain; charset=utf-8' }: { status: number; text: string; type?: string },
): void => {
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(text) });
  response.end(request.method === 'HEAD' ? undefined : text);
};

const bind = async (server: Server, listen: string): Promise<number> => {
  const colon = listen.lastIndexOf(':');
  const host = listen.slice(0, colon).replace(/^\[(.*)\]$/, '$1');
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host, port: Number(listen.slice(colon + 1)) }, () => {
        server.off('error', reject);
        resolve();
      });
    });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new FerryError('CONFIG_INVALID', `cannot listen for metrics on ${JSON.stringify(listen)}: ${why}`, {
      hint: 'is the port taken, or is the address not of this machine?',
      cause,
    });
  }
  return (server.address() as AddressInfo).port;
};

const close = (server: Server): Promise<void> =>
  new Promise((resolve) => {
    server.close(() => {
      resolve();
    });
    server.closeAllConnections();
  });
