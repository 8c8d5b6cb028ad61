"""The schema of ``transport.v1`` for Google's protobuf, from a .proto text that is read here: no compiler is needed.

The text was written from the field list of the contract, independently of ``bubu_wire.messages``.
"""

from __future__ import annotations

import re
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, struct_pb2

PROTO: Final = """
message AudioFrame {
  bytes pcm = 1; int32 sample_rate_hz = 2; int32 channels = 3; string codec = 4; uint64 timestamp_ms = 5;
}
message VideoFrame {
  bytes payload = 1; string codec = 2; uint32 width = 3; uint32 height = 4; uint64 timestamp_ms = 5; bool raw = 6;
}
message BinaryFrame { bytes payload = 1; string mime_type = 2; uint64 timestamp_ms = 3; }
message TransportDescriptor { string name = 1; string kind = 2; string mode = 3; TransportConfig typed_config = 5; }
message TransportConfig { string transport_ref = 1; string mode_reason = 2; }
message StreamEnvelope {
  string stream_id = 1; uint64 sequence = 2; string partition = 3; string chunk_id = 4;
  uint32 chunk_index = 5; uint32 chunk_count = 6; uint32 chunk_bytes = 7; uint32 total_bytes = 8;
}
message DataRequest {
  oneof frame { AudioFrame audio = 1; VideoFrame video = 2; BinaryFrame binary = 3; }
  map<string, string> metadata = 4; Struct payload = 5; Struct inputs = 6;
  repeated TransportDescriptor transports = 7; StreamEnvelope envelope = 8;
}
message DataResponse {
  oneof frame { AudioFrame audio = 1; VideoFrame video = 2; BinaryFrame binary = 3; }
  map<string, string> metadata = 4; Struct payload = 5; Struct inputs = 6;
  repeated TransportDescriptor transports = 7; StreamEnvelope envelope = 8;
}
message DataPacket {
  map<string, string> metadata = 1; Struct payload = 2; Struct inputs = 3; repeated TransportDescriptor transports = 4;
  oneof frame { AudioFrame audio = 5; VideoFrame video = 6; BinaryFrame binary = 7; }
  StreamEnvelope envelope = 8;
}
message ProcessRequest { DataPacket packet = 1; FlowControl flow = 2; }
message ProcessResponse { DataPacket packet = 1; FlowControl flow = 2; }
message FlowControl {
  uint64 ack = 1; uint32 credits_messages = 2; uint32 credits_bytes = 3;
  repeated PartitionAck partition_acks = 6; enum signal = 7;
}
message PartitionAck { string partition = 1; uint64 ack = 2; }
message ControlRequest {
  enum action = 1; map<string, string> metadata = 2; FlowControl flow = 3; string custom_action = 4;
}
message ControlResponse {
  enum action = 1; map<string, string> metadata = 2; FlowControl flow = 3; string custom_action = 4;
  ControlError error = 5;
}
message ControlError { int32 code = 1; string message = 2; map<string, string> details = 3; }
message BindingInfo {
  string transport_ref = 1; string driver = 2; string endpoint = 3; repeated string audio_codecs = 4;
  repeated string video_codecs = 5; bytes payload = 6; repeated string binary_types = 7; string protocol_version = 8;
}
"""

_PACKAGE: Final = "transport.v1"
_MESSAGE: Final = re.compile(r"^message (\w+) \{(?:([^\n]+)\}|\n(.*?)\n\})$", re.DOTALL | re.MULTILINE)
_FIELD: Final = re.compile(r"(repeated )?(map<string, string>|\w+) (\w+) = (\d+);|oneof (\w+) \{|(\})")
_Proto = descriptor_pb2.FieldDescriptorProto
_TYPES: Final = {
    "bytes": _Proto.TYPE_BYTES,
    "string": _Proto.TYPE_STRING,
    "int32": _Proto.TYPE_INT32,
    "uint32": _Proto.TYPE_UINT32,
    "uint64": _Proto.TYPE_UINT64,
    "bool": _Proto.TYPE_BOOL,
    "enum": _Proto.TYPE_ENUM,
}


def load() -> dict[str, Any]:
    """Classes of Google's protobuf by name."""
    file = descriptor_pb2.FileDescriptorProto(name="transport.proto", package=_PACKAGE, syntax="proto3")
    file.dependency.append("google/protobuf/struct.proto")
    file.enum_type.add(name="Open").value.add(name="ZERO", number=0)
    for name, line, lines in _MESSAGE.findall(PROTO):
        _add(file.message_type.add(name=name), line or lines)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(struct_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    return {
        message.name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{message.name}"))
        for message in file.message_type
    }


def _add(message: Any, body: str) -> None:
    inside = False
    for repeated, kind, name, number, oneof, end in _FIELD.findall(body):
        if oneof or end:
            inside = bool(oneof)
            if oneof:
                message.oneof_decl.add(name=oneof)
            continue
        field = message.field.add(name=name, number=int(number), label=_Proto.LABEL_OPTIONAL)
        if inside:
            field.oneof_index = 0
        if repeated or kind.startswith("map"):
            field.label = _Proto.LABEL_REPEATED
        if kind.startswith("map"):
            entry = message.nested_type.add(name="".join(part.title() for part in name.split("_")) + "Entry")
            entry.options.map_entry = True
            for index, half in enumerate(("key", "value"), 1):
                entry.field.add(name=half, number=index, label=_Proto.LABEL_OPTIONAL, type=_Proto.TYPE_STRING)
            field.type, field.type_name = _Proto.TYPE_MESSAGE, f".{_PACKAGE}.{message.name}.{entry.name}"
        elif kind in _TYPES:
            field.type = _TYPES[kind]
            if kind == "enum":
                field.type_name = f".{_PACKAGE}.Open"
        else:
            field.type = _Proto.TYPE_MESSAGE
            field.type_name = ".google.protobuf.Struct" if kind == "Struct" else f".{_PACKAGE}.{kind}"
