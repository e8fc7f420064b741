# Generated from protos/grpc/reflection/v1alpha/reflection.proto by protos/generate.py (`make protos`). Not to be edited.
"""Messages of grpc/reflection/v1alpha/reflection.proto, in the private pool."""

from steelyard.wire.pool import add_file, message

SOURCE_SHA256 = "1957700fefa054eef48fb1008b41c106636868ea6007edb45a2a3f3867c75413"
SERIALIZED = (
    b'\n(grpc/reflection/v1alpha/reflection.proto\x12\x17grpc.reflection.v1al'
    b'pha"\xf8\x02\n\x17ServerReflectionRequest\x12\x12\n\x04host\x18\x01 \x01(\tR\x04host\x12*\n\x10file_by_f'
    b'ilename\x18\x03 \x01(\tH\x00R\x0efileByFilename\x126\n\x16file_containing_symbol\x18\x04 \x01(\tH'
    b'\x00R\x14fileContainingSymbol\x12g\n\x19file_containing_extension\x18\x05 \x01(\x0b2).grp'
    b'c.reflection.v1alpha.ExtensionRequestH\x00R\x17fileContainingExtension'
    b'\x12B\n\x1dall_extension_numbers_of_type\x18\x06 \x01(\tH\x00R\x19allExtensionNumbersOf'
    b'Type\x12%\n\rlist_services\x18\x07 \x01(\tH\x00R\x0clistServicesB\x11\n\x0fmessage_request"f'
    b"\n\x10ExtensionRequest\x12'\n\x0fcontaining_type\x18\x01 \x01(\tR\x0econtainingType\x12)\n\x10e"
    b'xtension_number\x18\x02 \x01(\x05R\x0fextensionNumber"\xc7\x04\n\x18ServerReflectionRespo'
    b'nse\x12\x1d\n\nvalid_host\x18\x01 \x01(\tR\tvalidHost\x12[\n\x10original_request\x18\x02 \x01(\x0b20.g'
    b'rpc.reflection.v1alpha.ServerReflectionRequestR\x0foriginalRequest\x12'
    b'k\n\x18file_descriptor_response\x18\x04 \x01(\x0b2/.grpc.reflection.v1alpha.File'
    b'DescriptorResponseH\x00R\x16fileDescriptorResponse\x12w\n\x1eall_extension_nu'
    b'mbers_response\x18\x05 \x01(\x0b20.grpc.reflection.v1alpha.ExtensionNumberRe'
    b'sponseH\x00R\x1ballExtensionNumbersResponse\x12d\n\x16list_services_response\x18'
    b'\x06 \x01(\x0b2,.grpc.reflection.v1alpha.ListServiceResponseH\x00R\x14listServi'
    b'cesResponse\x12O\n\x0eerror_response\x18\x07 \x01(\x0b2&.grpc.reflection.v1alpha.Er'
    b'rorResponseH\x00R\rerrorResponseB\x12\n\x10message_response"L\n\x16FileDescript'
    b'orResponse\x122\n\x15file_descriptor_proto\x18\x01 \x03(\x0cR\x13fileDescriptorProto"j'
    b'\n\x17ExtensionNumberResponse\x12$\n\x0ebase_type_name\x18\x01 \x01(\tR\x0cbaseTypeName\x12'
    b')\n\x10extension_number\x18\x02 \x03(\x05R\x0fextensionNumber"Y\n\x13ListServiceRespons'
    b'e\x12B\n\x07service\x18\x01 \x03(\x0b2(.grpc.reflection.v1alpha.ServiceResponseR\x07se'
    b'rvice"%\n\x0fServiceResponse\x12\x12\n\x04name\x18\x01 \x01(\tR\x04name"S\n\rErrorResponse\x12\x1d\n'
    b'\nerror_code\x18\x01 \x01(\x05R\terrorCode\x12#\n\rerror_message\x18\x02 \x01(\tR\x0cerrorMessag'
    b'e2\x93\x01\n\x10ServerReflection\x12\x7f\n\x14ServerReflectionInfo\x120.grpc.reflection'
    b'.v1alpha.ServerReflectionRequest\x1a1.grpc.reflection.v1alpha.Serve'
    b'rReflectionResponse(\x010\x01b\x06proto3'
)

DESCRIPTOR = add_file(SERIALIZED)

ServerReflectionRequest = message(DESCRIPTOR, "ServerReflectionRequest")
ExtensionRequest = message(DESCRIPTOR, "ExtensionRequest")
ServerReflectionResponse = message(DESCRIPTOR, "ServerReflectionResponse")
FileDescriptorResponse = message(DESCRIPTOR, "FileDescriptorResponse")
ExtensionNumberResponse = message(DESCRIPTOR, "ExtensionNumberResponse")
ListServiceResponse = message(DESCRIPTOR, "ListServiceResponse")
ServiceResponse = message(DESCRIPTOR, "ServiceResponse")
ErrorResponse = message(DESCRIPTOR, "ErrorResponse")
