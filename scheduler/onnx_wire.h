/* Protobuf messages out of hostile bytes: checked first, then unpacked by protobuf-c with our own
 * memory. Knows no ONNX. */
#ifndef FVM_ONNX_WIRE_H
#define FVM_ONNX_WIRE_H

#include <protobuf-c/protobuf-c.h>

#include "mapping.h"

/* Unpack bytes as a message. FVM_EFORMAT names the byte offset and the field where it breaks:
 * protobuf-c alone says only that it doesn't parse, and follows any depth of nesting. */
enum fvm_status wire_unpack(const ProtobufCMessageDescriptor *d, const void *bytes, size_t n,
                            ProtobufCMessage **msg, struct fvm_error *err);
void wire_free(ProtobufCMessage *msg);
/* Take a field of type bytes out of an unpacked message, to be released with the list instead;
 * clears *b and returns its data, which is 16-byte aligned. NULL stays NULL. */
void *wire_keep(ProtobufCBinaryData *b, struct mapping **list);

#endif
