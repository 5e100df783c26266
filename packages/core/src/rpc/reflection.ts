import { fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import type { Server } from '@grpc/grpc-js';
import { loadSync, type EnumTypeDefinition } from '@grpc/proto-loader';
import { ReflectionService } from '@grpc/reflection';
import { protoPath as healthProto } from 'grpc-health-check';
import { fileDescriptors } from '../gen/descriptors.js';

/**
 * Lets clients ask what the server speaks: the service that a file of proto/ declares, and health checks.
 *
 * The files are those that buf compiled. What proto-loader makes of a .proto will not do: it forgets that a field is optional, and
 * calls the entries of the map `metadata` "Metadata" where "MetadataEntry" is prescribed, for which protobuf in Go (and so
 * grpcurl) refuses the whole file.
 *
 * @param proto like `rbdferry/v1/transfer.proto`
 */
export const addReflection = (server: Server, proto: string): void => {
  // As of a type: these have the fewest fields, and only the files count.
  const ours: EnumTypeDefinition = {
    format: 'Protocol Buffer 3 EnumDescriptorProto',
    type: {},
    fileDescriptorProtos: compiledWithImports(proto),
  };
  new ReflectionService({ ...loadSync(healthProto), [proto]: ours }).addToServer(server);
};

const compiledWithImports = (proto: string): Buffer[] => {
  const text = fileDescriptors[proto];
  if (text === undefined) throw new Error(`${proto} is not among the compiled files`);
  const bytes = Buffer.from(text, 'base64');
  const { dependency } = fromBinary(FileDescriptorProtoSchema, bytes);
  return [bytes, ...dependency.flatMap(compiledWithImports)];
};
