package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

const (
	protocolVersion = "1.0.0"
	packetMIME      = "application/vnd.bubu.packet+json"

	actionHeartbeat    = 8
	actionReady        = 9
	actionCapabilities = 10
	actionAck          = 14
)

// message is what the engram's author sends and receives.
type message struct {
	number int
	inputs any
	done   func()
}

func newMessage(number int) *message { return &message{number: number} }

// packetJSON is the JSON envelope of a message.
type packetJSON struct {
	Version     string         `json:"version"`
	Kind        string         `json:"kind,omitempty"`
	MessageID   string         `json:"messageId,omitempty"`
	TimestampMS int64          `json:"timestampMs,omitempty"`
	Payload     map[string]any `json:"payload,omitempty"`
	Inputs      any            `json:"inputs,omitempty"`
}

// encodeData is a DataRequest with a JSON envelope as its frame. Payload and inputs are in the Struct fields, too, as
// the SDK has it. The engram sets inputs of its own, which repeat the payload, as engrams that emit text do.
func encodeData(sent *message) ([]byte, error) {
	payload := map[string]any{"n": sent.number}
	inputs := map[string]any{"n": sent.number, "set": "by the engram"}
	now := time.Now().UnixMilli()
	id := strconv.Itoa(sent.number)
	text, err := json.Marshal(packetJSON{"v1", "data", id, now, payload, inputs})
	if err != nil {
		return nil, err
	}
	var frame, out []byte
	frame = appendBytes(frame, 1, text)
	frame = appendBytes(frame, 2, []byte(packetMIME))
	frame = protowire.AppendVarint(protowire.AppendTag(frame, 3, protowire.VarintType), uint64(now))
	out = appendBytes(out, 3, frame)
	out = appendPair(out, 4, "bubu.envelope.kind", "data")
	out = appendPair(out, 4, "bubu.envelope.message_id", id)
	out = appendPair(out, 4, "bubu.envelope.timestamp_ms", strconv.FormatInt(now, 10))
	for number, value := range map[protowire.Number]map[string]any{5: payload, 6: inputs} {
		made, err := structpb.NewStruct(value)
		if err != nil {
			return nil, err
		}
		encoded, err := proto.Marshal(made)
		if err != nil {
			return nil, err
		}
		out = appendBytes(out, number, encoded)
	}
	return out, nil
}

func encodeHeartbeat() []byte { return appendPair(nil, 4, "bubu-heartbeat", "true") }

// received is a DataResponse.
type received struct {
	mime, streamID, partition string
	frame                     []byte
	sequence                  uint64
	metadata                  map[string]string
	payload, inputs           map[string]any
	hasFrame, isChunk         bool
}

func decodeData(raw []byte) (*received, error) {
	found := &received{metadata: map[string]string{}}
	err := fields(raw, func(number protowire.Number, value []byte, _ uint64) error {
		switch number {
		case 1, 2:
			found.hasFrame = true
		case 3:
			found.hasFrame = true
			return fields(value, func(number protowire.Number, value []byte, _ uint64) error {
				switch number {
				case 1:
					found.frame = value
				case 2:
					found.mime = string(value)
				}
				return nil
			})
		case 4:
			return decodePair(value, found.metadata)
		case 5, 6:
			var made structpb.Struct
			if err := proto.Unmarshal(value, &made); err != nil {
				return err
			}
			if number == 5 {
				found.payload = made.AsMap()
			} else {
				found.inputs = made.AsMap()
			}
		case 8:
			return fields(value, func(number protowire.Number, value []byte, integer uint64) error {
				switch number {
				case 1:
					found.streamID = string(value)
				case 2:
					found.sequence = integer
				case 3:
					found.partition = string(value)
				case 6:
					found.isChunk = integer > 0
				}
				return nil
			})
		}
		return nil
	})
	return found, err
}

// message is what the author gets; what is in the JSON envelope wins over the Struct fields.
func (r *received) message() (*message, error) {
	payload, inputs := r.payload, any(r.inputs)
	if r.mime == packetMIME {
		var packet packetJSON
		if err := json.Unmarshal(r.frame, &packet); err != nil {
			return nil, fmt.Errorf("the JSON envelope: %w", err)
		}
		if packet.Payload != nil {
			payload = packet.Payload
		}
		if packet.Inputs != nil {
			inputs = packet.Inputs
		}
	}
	number, isNumber := payload["n"].(float64)
	if !isNumber {
		return nil, errors.New("the payload has no number n")
	}
	return &message{number: int(number), inputs: inputs}, nil
}

// control is a ControlRequest or a ControlResponse.
type control struct {
	action   uint64
	custom   string
	metadata map[string]string
}

func (c control) encode() []byte {
	var out []byte
	if c.action != 0 {
		out = protowire.AppendVarint(protowire.AppendTag(out, 1, protowire.VarintType), c.action)
	}
	for key, value := range c.metadata {
		out = appendPair(out, 2, key, value)
	}
	if c.custom != "" {
		out = appendBytes(out, 4, []byte(c.custom))
	}
	return out
}

func decodeControl(raw []byte) (control, error) {
	found := control{metadata: map[string]string{}}
	err := fields(raw, func(number protowire.Number, value []byte, integer uint64) error {
		switch number {
		case 1:
			found.action = integer
		case 2:
			return decodePair(value, found.metadata)
		case 4:
			found.custom = string(value)
		}
		return nil
	})
	return found, err
}

func appendBytes(out []byte, number protowire.Number, value []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(out, number, protowire.BytesType), value)
}

func appendPair(out []byte, number protowire.Number, key, value string) []byte {
	return appendBytes(out, number, appendBytes(appendBytes(nil, 1, []byte(key)), 2, []byte(value)))
}

func decodePair(raw []byte, pairs map[string]string) error {
	var key, text string
	err := fields(raw, func(number protowire.Number, value []byte, _ uint64) error {
		if number == 1 {
			key = string(value)
		} else if number == 2 {
			text = string(value)
		}
		return nil
	})
	pairs[key] = text
	return err
}

// fields calls visit with each field of a message: its bytes, or its integer.
func fields(raw []byte, visit func(protowire.Number, []byte, uint64) error) error {
	for len(raw) > 0 {
		number, kind, length := protowire.ConsumeTag(raw)
		if length < 0 {
			return protowire.ParseError(length)
		}
		raw = raw[length:]
		var value []byte
		var integer uint64
		switch kind {
		case protowire.BytesType:
			value, length = protowire.ConsumeBytes(raw)
		case protowire.VarintType:
			integer, length = protowire.ConsumeVarint(raw)
		default:
			length = protowire.ConsumeFieldValue(number, kind, raw)
		}
		if length < 0 {
			return protowire.ParseError(length)
		}
		raw = raw[length:]
		if err := visit(number, value, integer); err != nil {
			return err
		}
	}
	return nil
}
