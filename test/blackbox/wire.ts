import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import {
  credentials,
  loadPackageDefinition,
  Server,
  ServerCredentials,
  status,
  type ChannelCredentials,
  type Client,
  type ClientReadableStream,
  type ClientUnaryCall,
  type ClientWritableStream,
  type GrpcObject,
  type ServiceClientConstructor,
  type ServiceError,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

/**
 * A client of both daemons made of the .proto files alone, as somebody else's program would be: nothing here comes from
 * packages/. Messages are plain objects: 64-bit numbers and enums as text, bytes as Buffer, a oneof as the field that is set.
 */

const protoDir = fileURLToPath(new URL('../../proto', import.meta.url));
const packages = loadPackageDefinition(
  loadSync(['rbdferry/v1/transfer.proto', 'rbdferry/v1/control.proto'], {
    includeDirs: [protoDir],
    longs: String,
    enums: String,
    bytes: Buffer,
    defaults: true,
    oneofs: true,
  }),
);

const serviceOf = (name: 'TransferService' | 'ControlService'): ServiceClientConstructor => {
  const found = (packages['rbdferry'] as GrpcObject)['v1'] as GrpcObject;
  return found[name] as ServiceClientConstructor;
};

export type Message = Readonly<Record<string, unknown>>;

/** An error of a call, with what its `grpc-status-details-bin` says. */
export class CallError extends Error {
  override readonly name = 'CallError';

  constructor(
    /** Name of the gRPC status. */
    readonly status: string,
    /** The ErrorDetail; empty texts when there was none. */
    readonly detail: { readonly code: string; readonly message: string; readonly hint: string },
    cause: ServiceError,
  ) {
    super(`${status} ${detail.code}: ${cause.details}`, { cause });
  }
}

/** A unary or streaming method, whatever its messages are. */
type Method = (...args: unknown[]) => unknown;

export class Caller {
  readonly #client: Client;

  constructor(service: 'TransferService' | 'ControlService', address: string, creds: ChannelCredentials) {
    this.#client = new (serviceOf(service))(address, creds, { 'grpc.max_send_message_length': 64 * 1024 * 1024 });
  }

  close(): void {
    this.#client.close();
  }

  /** @throws CallError */
  unary<Answer = Message>(method: string, request: Message): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.#method(method)(request, (error: ServiceError | null, answer: Answer) => {
        if (error === null) resolve(answer);
        else reject(callError(error));
      }) as ClientUnaryCall;
    });
  }

  /** Cancels a call at this moment; resolves when it has ended, however it did. */
  abandon(method: string, request: Message, moment: Promise<unknown>): Promise<void> {
    return new Promise((resolve) => {
      const call = this.#method(method)(request, () => {
        resolve();
      }) as ClientUnaryCall;
      void moment.then(() => {
        call.cancel();
      });
    });
  }

  /** The messages of a server stream; leaving the loop cancels the call. @throws CallError */
  async *stream<Answer = Message>(method: string, request: Message): AsyncGenerator<Answer, void, undefined> {
    const call = this.#method(method)(request) as ClientReadableStream<Answer>;
    call.on('error', () => {});
    try {
      for await (const message of call as AsyncIterable<Answer>) yield message;
    } catch (thrown) {
      throw callError(thrown as ServiceError);
    } finally {
      call.cancel();
    }
  }

  async all<Answer = Message>(method: string, request: Message): Promise<Answer[]> {
    const answers: Answer[] = [];
    for await (const answer of this.stream<Answer>(method, request)) answers.push(answer);
    return answers;
  }

  /** Sends the messages as a client stream. `ending`: what the client does after the last one. @throws CallError */
  upload<Answer = Message>(
    method: string,
    messages: Iterable<Message>,
    ending: 'end' | 'cancel' = 'end',
  ): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const call = this.#method(method)((error: ServiceError | null, answer: Answer) => {
        if (error === null) resolve(answer);
        else reject(callError(error));
        call.destroy();
      }) as ClientWritableStream<Message>;
      call.on('error', () => {});
      void writeAll(call, messages).then(() => {
        if (ending === 'end') call.end();
        // Late enough for the messages to have arrived.
        else setTimeout(() => call.cancel(), 300);
      });
    });
  }

  #method(name: string): Method {
    const found = (this.#client as unknown as Record<string, Method>)[name];
    if (found === undefined) throw new Error(`the .proto files have no method ${name}`);
    return found.bind(this.#client);
  }
}

const writeAll = async (call: ClientWritableStream<Message>, messages: Iterable<Message>): Promise<void> => {
  for (const message of messages) {
    if (call.destroyed) return;
    if (call.write(message)) continue;
    await new Promise<void>((resolve) => {
      const goOn = () => {
        call.off('drain', goOn).off('close', goOn);
        resolve();
      };
      call.on('drain', goOn).on('close', goOn);
    });
  }
};

/** Files of one certificate in a directory made by `rbdferry pki`. */
const pems = (dir: string, name: string): Promise<[Buffer, Buffer, Buffer]> =>
  Promise.all([readFile(`${dir}/ca.crt`), readFile(`${dir}/${name}.key`), readFile(`${dir}/${name}.crt`)]);

export const tlsOf = async (dir: string, name: string): Promise<ChannelCredentials> =>
  credentials.createSsl(...(await pems(dir, name)));

/** A server of one of the services, as somebody else's program would be. Answers its port and how to stop it. */
export const serve = async (
  service: 'TransferService' | 'ControlService',
  handlers: UntypedServiceImplementation,
  tls: { readonly dir: string; readonly name: string },
): Promise<{ readonly port: number; readonly stop: () => void }> => {
  const [ca, key, cert] = await pems(tls.dir, tls.name);
  const server = new Server();
  server.addService(serviceOf(service).service, handlers);
  const creds = ServerCredentials.createSsl(ca, [{ private_key: key, cert_chain: cert }], true);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('localhost:0', creds, (error, bound) => {
      if (error === null) resolve(bound);
      else reject(error);
    });
  });
  return {
    port,
    stop: () => {
      server.forceShutdown();
    },
  };
};

/** Fields of a protobuf message that are texts or bytes, by number; the last one wins. */
const textFields = (bytes: Buffer): Map<number, Buffer> => {
  const fields = new Map<number, Buffer>();
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes.readUInt8(at++);
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    if (tag % 8 === 0) varint();
    else if (tag % 8 === 2) {
      const length = varint();
      fields.set(Math.floor(tag / 8), bytes.subarray(at, at + length));
      at += length;
    } else throw new Error(`wire type ${tag % 8} is not expected here`);
  }
  return fields;
};

const callError = (error: ServiceError): CallError => {
  const [raw] = error.metadata?.get('grpc-status-details-bin') ?? [];
  // google.rpc.Status: code = 1, message = 2, details = 3 (google.protobuf.Any: type_url = 1, value = 2).
  const any = textFields(textFields(Buffer.from(raw ?? '')).get(3) ?? Buffer.alloc(0));
  const isOurs = any.get(1)?.toString() === 'type.googleapis.com/rbdferry.v1.ErrorDetail';
  // rbdferry.v1.ErrorDetail: code = 1, message = 2, hint = 3.
  const detail = textFields(isOurs ? (any.get(2) ?? Buffer.alloc(0)) : Buffer.alloc(0));
  const text = (field: number): string => detail.get(field)?.toString() ?? '';
  return new CallError(status[error.code] ?? 'UNKNOWN', { code: text(1), message: text(2), hint: text(3) }, error);
};
