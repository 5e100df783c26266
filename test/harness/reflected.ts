import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import {
  create,
  createFileRegistry,
  fromBinary,
  fromJsonString,
  toBinary,
  toJson,
  type DescMethod,
  type FileRegistry,
  type JsonValue,
} from '@bufbuild/protobuf';
import {
  AnySchema,
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
  type DescriptorProto,
  type FileDescriptorProto,
} from '@bufbuild/protobuf/wkt';
import {
  Client,
  credentials,
  loadPackageDefinition,
  Metadata,
  status,
  type ClientDuplexStream,
  type GrpcObject,
  type ServiceClientConstructor,
  type ServiceError,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { StatusDetails } from '@rbdferry/core/gen/rbdferry/v1/status.js';

/**
 * A client that knows nothing but what the server's reflection tells, as grpcurl: JSON in, JSON out.
 */

interface ReflectionAnswer {
  readonly listServicesResponse?: { readonly service: readonly { readonly name: string }[] };
  readonly fileDescriptorResponse?: { readonly fileDescriptorProto: readonly Buffer[] };
  readonly errorResponse?: { readonly errorMessage: string };
}

/** A call that failed, as grpcurl tells it. */
export class ReflectedError extends Error {
  override readonly name = 'ReflectedError';

  constructor(
    /** Like `NotFound`. */
    readonly code: string,
    override readonly message: string,
    readonly details: readonly JsonValue[],
  ) {
    super(message);
  }
}

export class Reflected {
  readonly #client: Client;
  readonly #reflection: ReturnType<typeof reflectionClient>;
  readonly #registries = new Map<string, Promise<FileRegistry>>();

  constructor(target: string) {
    this.#client = new Client(target, credentials.createInsecure());
    this.#reflection = reflectionClient(target);
  }

  close(): void {
    this.#client.close();
    this.#reflection.close();
  }

  /** Names of the services, in order. */
  async services(): Promise<string[]> {
    const { listServicesResponse } = await this.#ask({ listServices: '*' });
    return (listServicesResponse?.service ?? []).map(({ name }) => name).toSorted();
  }

  /** Everything that is needed to speak of the symbol. @throws when the server does not know it */
  describe(symbol: string): Promise<FileRegistry> {
    const known = this.#registries.get(symbol) ?? this.#describe(symbol);
    this.#registries.set(symbol, known);
    return known;
  }

  /** Calls a method; answers its messages. @throws ReflectedError; or what is wrong with the request, which is then not sent */
  async call(service: string, method: string, request: string): Promise<JsonValue[]> {
    const registry = await this.describe(service);
    const found = registry.getService(service)?.methods.find(({ name }) => name === method);
    if (found === undefined) throw new Error(`${service} has no method ${method}`);
    const message = fromJsonString(found.input, request, { registry });
    const answers: JsonValue[] = [];
    for await (const bytes of this.#send(found, Buffer.from(toBinary(found.input, message)), registry)) {
      answers.push(toJson(found.output, fromBinary(found.output, bytes), { registry }));
    }
    return answers;
  }

  async *#send(
    method: DescMethod,
    request: Buffer,
    registry: FileRegistry,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    // On the wire a unary answer is a stream of one message.
    const call = this.#client.makeServerStreamRequest<Buffer, Buffer>(
      `/${method.parent.typeName}/${method.name}`,
      (bytes) => bytes,
      (bytes) => bytes,
      request,
      new Metadata(),
      { deadline: Date.now() + 120_000 },
    );
    call.on('error', () => {});
    try {
      for await (const bytes of call as AsyncIterable<Buffer>) yield bytes;
    } catch (thrown) {
      throw reflectedError(thrown as ServiceError, registry);
    }
  }

  async #describe(symbol: string): Promise<FileRegistry> {
    const { fileDescriptorResponse } = await this.#ask({ fileContainingSymbol: symbol });
    const files = (fileDescriptorResponse?.fileDescriptorProto ?? []).map((bytes) =>
      withFullNames(fromBinary(FileDescriptorProtoSchema, bytes)),
    );
    return createFileRegistry(create(FileDescriptorSetSchema, { file: files.toReversed() }));
  }

  #ask(request: object): Promise<ReflectionAnswer> {
    return new Promise((resolve, reject) => {
      const call = this.#reflection.serverReflectionInfo();
      call.on('error', reject);
      call.on('data', (answer: ReflectionAnswer) => {
        if (answer.errorResponse === undefined) resolve(answer);
        else reject(new Error(answer.errorResponse.errorMessage));
        call.end();
      });
      call.write(request);
    });
  }
}

/** The one service that must be known beforehand. */
const reflectionClient = (
  target: string,
): Client & { serverReflectionInfo(): ClientDuplexStream<object, ReflectionAnswer> } => {
  const own = dirname(createRequire(import.meta.url).resolve('@grpc/reflection'));
  const file = join(own, '../proto/grpc/reflection/v1/reflection.proto');
  const { grpc } = loadPackageDefinition(loadSync(file, { oneofs: true }));
  const { v1 } = (grpc as GrpcObject)['reflection'] as GrpcObject;
  const made = new ((v1 as GrpcObject)['ServerReflection'] as ServiceClientConstructor)(
    target,
    credentials.createInsecure(),
  );
  return made as unknown as ReturnType<typeof reflectionClient>;
};

const reflectedError = (error: ServiceError, registry: FileRegistry): ReflectedError => {
  const [raw] = error.metadata.get('grpc-status-details-bin');
  const details = raw instanceof Uint8Array ? StatusDetails.decode(raw).details : [];
  return new ReflectedError(
    camelCase(status[error.code] ?? ''),
    error.details,
    details.map((any) => toJson(AnySchema, create(AnySchema, any), { registry })),
  );
};

const camelCase = (name: string): string =>
  name.toLowerCase().replaceAll(/(?:^|_)([a-z])/g, (_, letter: string) => letter.toUpperCase());

/**
 * A file with all its names, as createFileRegistry wants them. descriptor.proto allows type names that are relative and JSON names
 * that are left out, and the health service's file (which is proto-loader's) has such; all its types are in its own package.
 */
const withFullNames = (file: FileDescriptorProto): FileDescriptorProto => {
  const outer = new Set([...file.messageType, ...file.enumType].map(({ name }) => name));
  const full = (name: string, scope: string): string =>
    name === '' || name.startsWith('.') ? name : `.${outer.has(name) ? file.package : scope}.${name}`;
  const fill = (message: DescriptorProto, scope: string): void => {
    const own = `${scope}.${message.name}`;
    for (const field of message.field) {
      field.typeName = full(field.typeName, own);
      field.jsonName ||= field.name;
    }
    for (const nested of message.nestedType) fill(nested, own);
  };
  for (const message of file.messageType) fill(message, file.package);
  for (const method of file.service.flatMap((service) => service.method)) {
    method.inputType = full(method.inputType, file.package);
    method.outputType = full(method.outputType, file.package);
  }
  return file;
};
