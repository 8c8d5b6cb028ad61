package main

// A relay that does for each packet what the hub does: one Data and one Control call for each client, the place in the
// stream replaced, a copy kept until the receipt and 250 ms longer, at most 64 packets without receipt, the producer
// stopped when the buffer is full, and upstream.accepted for it. JSON is decoded, as the hub decodes it to check it. In
// the lines from evaluatedFrom on each packet gets inputs: the text of its payload, and a constant.

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/encoding/protowire"
)

const (
	window        = 64
	bufferPackets = 1000
	linger        = 250 * time.Millisecond
	acceptedEvery = 64
	acceptedDelay = 20 * time.Millisecond
	maxPairs      = 100
	evaluatedFrom = 4
	packetType    = "application/vnd.bubu.packet+json"

	frameFields   = 3 // fields 1 to 3
	metadataField = 4
	envelopeField = 8
)

var errPacket = errors.New("the packet cannot be understood")

// kept is a packet that is not done with.
type kept struct {
	body     []byte
	sequence uint64
	until    time.Time
}

// line is what flows from one source to one sink.
type line struct {
	mutex     sync.Mutex
	changed   *sync.Cond
	stream    string
	metadata  []byte
	evaluated bool
	next      uint64
	waiting   []*kept
	inFlight  map[uint64]*kept
	lingering []*kept
}

// session is one connection: who it is, is known when Control is open.
type session struct {
	known    chan struct{}
	line     *line
	isSource bool
	control  grpc.ServerStream
}

type hub struct {
	mutex    sync.Mutex
	lines    map[string]*line
	sessions map[string]*session
}

func serveHub() error {
	relay := &hub{lines: map[string]*line{}, sessions: map[string]*session{}}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := grpc.NewServer(grpc.UnknownServiceHandler(relay.handle), grpc.ForceServerCodec(raw{}))
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		server.Stop()
	}()
	return server.Serve(listener)
}

func (h *hub) handle(_ any, stream grpc.ServerStream) error {
	from, _ := peer.FromContext(stream.Context())
	address := from.Addr.String()
	client := h.session(address)
	defer h.forget(address)
	if method, _ := grpc.MethodFromServerStream(stream); strings.HasSuffix(method, "/Control") {
		return h.control(client, stream)
	}
	select {
	case <-client.known:
	case <-stream.Context().Done():
		return nil
	}
	if client.isSource {
		return client.receive(stream)
	}
	return client.line.deliver(stream)
}

func (h *hub) session(address string) *session {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	found := h.sessions[address]
	if found == nil {
		found = &session{known: make(chan struct{})}
		h.sessions[address] = found
	}
	return found
}

// forget ends a session: another client may have the same address later.
func (h *hub) forget(address string) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	delete(h.sessions, address)
}

// control serves the client that its token names: source-N or sink-N.
func (h *hub) control(client *session, stream grpc.ServerStream) error {
	headers, _ := metadata.FromIncomingContext(stream.Context())
	token := strings.Join(headers.Get("bubu.transport.binding"), "")
	kind, number, found := strings.Cut(token, "-")
	if !found {
		return fmt.Errorf("no step has the token %q", token)
	}
	client.line, client.isSource, client.control = h.line(number), kind == "source", stream
	ready := appendPair(protowire.AppendVarint([]byte{0x08}, 9), 2, "startup.capabilities", "none")
	if err := stream.SendMsg(&ready); err != nil {
		return err
	}
	close(client.known)
	for {
		var message []byte
		if err := stream.RecvMsg(&message); err != nil {
			return nil
		}
		if sequence, ok := receipt(message, client.line.stream); ok {
			client.line.done(sequence)
		}
	}
}

func (h *hub) line(number string) *line {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	found := h.lines[number]
	if found == nil {
		found = &line{stream: "bench/run/sink-" + number + "@1", inFlight: map[uint64]*kept{}, next: 1}
		place, _ := strconv.Atoi(number)
		found.evaluated = place >= evaluatedFrom
		found.changed = sync.NewCond(&found.mutex)
		for _, pair := range [][2]string{
			{"current-step-id", "sink-" + number}, {"storyrun-name", "run"}, {"storyrun-namespace", "bench"},
		} {
			found.metadata = appendPair(found.metadata, metadataField, pair[0], pair[1])
		}
		h.lines[number] = found
	}
	return found
}

// receive takes the packets of a source, and says how many were accepted.
func (s *session) receive(stream grpc.ServerStream) error {
	accepted, reported := 0, time.Time{}
	for {
		var message []byte
		if err := stream.RecvMsg(&message); err != nil {
			return nil
		}
		body, err := inspect(message, s.line.evaluated)
		if err != nil {
			return err
		}
		s.line.offer(body)
		accepted++
		if accepted%acceptedEvery == 0 || time.Since(reported) >= acceptedDelay {
			reported = time.Now()
			told := appendPair(nil, 2, "packets", strconv.Itoa(accepted))
			told = protowire.AppendString(protowire.AppendTag(told, 4, protowire.BytesType), "upstream.accepted")
			if s.control.SendMsg(&told) != nil {
				return nil
			}
		}
	}
}

func (l *line) offer(body []byte) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	for len(l.waiting) >= bufferPackets {
		l.changed.Wait()
	}
	l.waiting = append(l.waiting, &kept{body: body, sequence: l.next})
	l.next++
	l.changed.Broadcast()
}

// deliver sends to a sink until it leaves; then what it has not acknowledged waits for the next one.
func (l *line) deliver(stream grpc.ServerStream) error {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	go func() {
		<-stream.Context().Done()
		l.mutex.Lock()
		defer l.mutex.Unlock()
		l.changed.Broadcast()
	}()
	for stream.Context().Err() == nil {
		if len(l.waiting) == 0 || len(l.inFlight) >= window {
			l.changed.Wait()
			continue
		}
		parcel := l.waiting[0]
		l.waiting = l.waiting[1:]
		l.inFlight[parcel.sequence] = parcel
		l.changed.Broadcast()
		l.mutex.Unlock()
		message := l.stamp(parcel)
		err := stream.SendMsg(&message)
		l.mutex.Lock()
		if err != nil {
			break
		}
	}
	again := slices.SortedFunc(maps.Values(l.inFlight), func(one, other *kept) int {
		return cmp.Compare(one.sequence, other.sequence)
	})
	l.waiting = append(again, l.waiting...)
	clear(l.inFlight)
	return nil
}

func (l *line) done(sequence uint64) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	parcel := l.inFlight[sequence]
	if parcel == nil {
		return
	}
	delete(l.inFlight, sequence)
	now := time.Now()
	parcel.until = now.Add(linger)
	l.lingering = append(l.lingering, parcel)
	for len(l.lingering) > 0 && !l.lingering[0].until.After(now) {
		l.lingering = l.lingering[1:]
	}
	l.changed.Broadcast()
}

// stamp puts a packet without a place into the stream.
func (l *line) stamp(parcel *kept) []byte {
	place := protowire.AppendString(protowire.AppendTag(make([]byte, 0, 64), 1, protowire.BytesType), l.stream)
	place = protowire.AppendVarint(protowire.AppendTag(place, 2, protowire.VarintType), parcel.sequence)
	message := make([]byte, 0, len(parcel.body)+len(l.metadata)+len(place)+4)
	message = append(append(message, parcel.body...), l.metadata...)
	return protowire.AppendBytes(protowire.AppendTag(message, envelopeField, protowire.BytesType), place)
}

// document is the JSON of a packet.
type document struct {
	Version   string         `json:"version"`
	Kind      string         `json:"kind"`
	MessageID string         `json:"messageId"`
	Payload   map[string]any `json:"payload"`
}

// inspect checks the fields of a packet, and returns it without its place, perhaps with inputs.
func inspect(packet []byte, evaluated bool) ([]byte, error) {
	body := make([]byte, 0, len(packet)+256)
	pairs := 0
	for rest := packet; len(rest) > 0; {
		number, kind, size := protowire.ConsumeTag(rest)
		if size < 0 {
			return nil, errPacket
		}
		length := protowire.ConsumeFieldValue(number, kind, rest[size:])
		if length < 0 {
			return nil, errPacket
		}
		field := rest[:size+length]
		rest = rest[size+length:]
		if number == envelopeField {
			continue
		}
		value, _ := protowire.ConsumeBytes(field[size:])
		if number == metadataField {
			name, text, ok := pair(value)
			if pairs++; !ok || pairs > maxPairs || len(name) == 0 || len(name) > 128 || len(text) > 1024 {
				return nil, errPacket
			}
		} else if number <= frameFields {
			frame, err := inspectFrame(value, evaluated)
			if err != nil {
				return nil, err
			}
			body = protowire.AppendBytes(protowire.AppendTag(body, number, protowire.BytesType), frame)
			continue
		}
		body = append(body, field...)
	}
	return body, nil
}

// inspectFrame checks a frame and its JSON, and gives it inputs if it is to have some.
func inspectFrame(frame []byte, evaluated bool) ([]byte, error) {
	var content []byte
	isDocument := false
	for rest := frame; len(rest) > 0; {
		number, kind, size := protowire.ConsumeTag(rest)
		if size < 0 {
			return nil, errPacket
		}
		length := protowire.ConsumeFieldValue(number, kind, rest[size:])
		if length < 0 {
			return nil, errPacket
		}
		value, _ := protowire.ConsumeBytes(rest[size : size+length])
		rest = rest[size+length:]
		if number == 1 {
			content = value
		} else if number == 2 {
			isDocument = string(value) == packetType
		}
	}
	if !isDocument {
		return frame, nil
	}
	var found document
	if err := json.Unmarshal(content, &found); err != nil {
		return nil, err
	}
	if !evaluated {
		return frame, nil
	}
	inputs, err := json.Marshal(map[string]any{"question": found.Payload["text"], "user": "u-1"})
	if err != nil {
		return nil, err
	}
	made := append(append([]byte(nil), content[:len(content)-1]...), `,"inputs":`...)
	made = append(append(made, inputs...), '}')
	frame = protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), made)
	return protowire.AppendString(protowire.AppendTag(frame, 2, protowire.BytesType), packetType), nil
}

// receipt reads the number in a downstream.delivered of a stream.
func receipt(message []byte, stream string) (uint64, bool) {
	sequence, isOurs, isReceipt := uint64(0), false, false
	for len(message) > 0 {
		number, kind, size := protowire.ConsumeTag(message)
		if size < 0 {
			return 0, false
		}
		length := protowire.ConsumeFieldValue(number, kind, message[size:])
		if length < 0 {
			return 0, false
		}
		value, _ := protowire.ConsumeBytes(message[size : size+length])
		message = message[size+length:]
		if number == 4 {
			isReceipt = string(value) == "downstream.delivered"
		} else if number == 2 {
			name, text, ok := pair(value)
			if !ok {
				return 0, false
			}
			switch string(name) {
			case "sequence":
				sequence, _ = strconv.ParseUint(string(text), 10, 64)
			case "stream_id":
				isOurs = string(text) == stream
			}
		}
	}
	return sequence, isOurs && isReceipt
}

func pair(encoded []byte) (name, text []byte, ok bool) {
	for len(encoded) > 0 {
		number, kind, size := protowire.ConsumeTag(encoded)
		if size < 0 || kind != protowire.BytesType {
			return nil, nil, false
		}
		value, length := protowire.ConsumeBytes(encoded[size:])
		if length < 0 || !utf8.Valid(value) {
			return nil, nil, false
		}
		if number == 1 {
			name = value
		} else {
			text = value
		}
		encoded = encoded[size+length:]
	}
	return name, text, true
}

func appendPair(message []byte, field protowire.Number, name, text string) []byte {
	entry := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), name)
	entry = protowire.AppendString(protowire.AppendTag(entry, 2, protowire.BytesType), text)
	return protowire.AppendBytes(protowire.AppendTag(message, field, protowire.BytesType), entry)
}
