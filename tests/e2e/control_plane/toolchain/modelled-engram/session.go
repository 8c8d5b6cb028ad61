package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const completedKeys = 4096

// raw sends and receives messages as bytes.
type raw struct{}

func (raw) Name() string                  { return "proto" }
func (raw) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }
func (raw) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = append([]byte(nil), data...)
	return nil
}

var errHandshake = errors.New("the hub did not say that it is ready")

type engram struct {
	settings     settings
	work         work
	completed    *table
	lostReceipts atomic.Int64
	duplicates   atomic.Int64
	sessions     atomic.Int64
}

func newEngram(settings settings, work work) *engram {
	return &engram{settings: settings, work: work, completed: newTable(completedKeys)}
}

func (e *engram) report() {
	log.Printf("sessions=%d duplicates=%d lostReceipts=%d", e.sessions.Load(), e.duplicates.Load(), e.lostReceipts.Load())
}

// run has a session after the other. The retries are those of the whole life: a healthy session gives none back.
func (e *engram) run(ctx context.Context) error {
	for retries := 0; ; retries++ {
		err := e.session(ctx)
		if err == nil {
			return nil
		}
		log.Printf("session ended: %v", err)
		if isPermanent(err) || (e.settings.maxRetries >= 0 && retries >= e.settings.maxRetries) {
			return err
		}
		pause := min(e.settings.baseBackoff<<min(retries, 16), e.settings.maxBackoff)
		time.Sleep(time.Duration(float64(pause) * (0.8 + 0.4*rand.Float64())))
	}
}

func isPermanent(err error) bool {
	if errors.Is(err, errHandshake) {
		return true
	}
	switch status.Code(err) {
	case codes.InvalidArgument, codes.PermissionDenied, codes.Unauthenticated, codes.Unimplemented, codes.FailedPrecondition:
		return true
	}
	return false
}

// session dials, shakes hands, and works until something ends. Nil: the author's function has returned.
func (e *engram) session(ctx context.Context) error {
	connection, err := e.dial(ctx)
	if err != nil {
		return err
	}
	defer connection.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	protocol := metadata.Pairs("bubu-transport-protocol", protocolVersion)
	data, err := open(metadata.NewOutgoingContext(ctx, protocol), connection, "Data")
	if err != nil {
		return err
	}
	identity := metadata.Join(protocol, metadata.Pairs("bubu.transport.binding", e.settings.binding))
	directives, err := open(metadata.NewOutgoingContext(ctx, identity), connection, "Control")
	if err != nil {
		return err
	}
	if err := e.handshake(directives); err != nil {
		return err
	}
	e.sessions.Add(1)
	log.Print("streaming")
	in, out := make(chan *message, e.settings.buffer), make(chan *message, e.settings.buffer)
	receipts := make(chan control, e.settings.buffer)
	ended := make(chan error, 5)
	go func() { ended <- e.receive(ctx, data, in, receipts) }()
	go func() { ended <- e.send(ctx, data, out) }()
	go func() { ended <- e.listen(directives) }()
	go func() { ended <- e.acknowledge(ctx, directives, receipts) }()
	go func() { ended <- e.work(ctx, in, out) }()
	return <-ended // what is in out is lost, as with the SDK
}

func (e *engram) dial(ctx context.Context) (*grpc.ClientConn, error) {
	host, _, err := net.SplitHostPort(e.settings.endpoint)
	if err != nil {
		return nil, err
	}
	address := net.ParseIP(host)
	security := credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS13})
	if host == "localhost" || (address != nil && address.IsLoopback()) {
		security = insecure.NewCredentials()
	}
	connection, err := grpc.NewClient(
		"passthrough:///"+e.settings.endpoint,
		grpc.WithTransportCredentials(security),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{})),
		grpc.WithContextDialer(dialer),
	)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, e.settings.dialTimeout)
	defer cancel()
	connection.Connect()
	for state := connection.GetState(); state != connectivity.Ready; state = connection.GetState() {
		if !connection.WaitForStateChange(ctx, state) {
			connection.Close()
			return nil, fmt.Errorf("cannot connect to %s within %s", e.settings.endpoint, e.settings.dialTimeout)
		}
	}
	return connection, nil
}

// dialer finds every name ending in .test on this machine; tests use one to have TLS, which a loopback name does not.
func dialer(ctx context.Context, endpoint string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(endpoint)
	if err != nil {
		return nil, err
	}
	if len(host) > 5 && host[len(host)-5:] == ".test" {
		host = "127.0.0.1"
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(host, port))
}

func open(ctx context.Context, connection *grpc.ClientConn, method string) (grpc.ClientStream, error) {
	both := &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
	return connection.NewStream(ctx, both, "/transport.v1.TransportConnectorService/"+method)
}

func (e *engram) handshake(directives grpc.ClientStream) error {
	ready := make(chan error, 1)
	go func() { ready <- awaitReady(directives) }()
	select {
	case err := <-ready:
		return err
	case <-time.After(e.settings.messageTimeout):
		return errHandshake
	}
}

func awaitReady(directives grpc.ClientStream) error {
	isReady, waits := false, true
	for !isReady || waits {
		directive, err := receiveControl(directives)
		if err != nil {
			return err
		}
		switch directive.action {
		case actionReady:
			startup := directive.metadata["startup.capabilities"]
			if startup != "required" && startup != "none" {
				return fmt.Errorf("%w: startup.capabilities is %q", errHandshake, startup)
			}
			isReady, waits = true, startup == "required"
		case actionCapabilities:
			waits = false
		}
		if err := answer(directives, directive); err != nil {
			return err
		}
	}
	return nil
}

func (e *engram) receive(ctx context.Context, data grpc.ClientStream, in chan<- *message, receipts chan<- control) error {
	pending := newTable(completedKeys)
	for {
		var encoded []byte
		if err := data.RecvMsg(&encoded); err != nil {
			return ofPeer(err)
		}
		packet, err := decodeData(encoded)
		if err != nil {
			return err // one packet that cannot be decoded ends the session
		}
		if packet.isChunk {
			return errors.New("chunks are not modelled")
		}
		if packet.metadata["bubu-heartbeat"] == "true" {
			continue
		}
		key, receipt := packet.key(), packet.receipt(len(encoded))
		if key != "" && e.completed.has(key) {
			e.duplicates.Add(1)
			e.queue(receipts, receipt)
			continue
		}
		if key != "" && !pending.add(key) {
			e.duplicates.Add(1)
			continue
		}
		if !packet.hasFrame && packet.payload == nil && packet.inputs == nil {
			if e.queue(receipts, receipt) {
				e.completed.add(key)
			}
			pending.remove(key)
			continue
		}
		made, err := packet.message()
		if err != nil {
			return err
		}
		made.done = func() {
			if e.queue(receipts, receipt) && key != "" {
				e.completed.add(key)
			}
			pending.remove(key)
		}
		select {
		case in <- made:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// queue does not wait: a receipt that finds the queue full is dropped, and its packet may come again.
func (e *engram) queue(receipts chan<- control, receipt control) bool {
	if receipt.custom == "" {
		return true
	}
	select {
	case receipts <- receipt:
		return true
	default:
		e.lostReceipts.Add(1)
		return false
	}
}

func (r *received) key() string {
	if r.streamID != "" && r.sequence > 0 {
		return fmt.Sprintf("%s|%s|%d", r.streamID, r.partition, r.sequence)
	}
	return r.metadata["bubu.envelope.message_id"]
}

// receipt is empty for a packet without a number.
func (r *received) receipt(size int) control {
	if r.streamID == "" || r.sequence == 0 {
		return control{}
	}
	return control{custom: "downstream.delivered", metadata: map[string]string{
		"stream_id":  r.streamID,
		"sequence":   strconv.FormatUint(r.sequence, 10),
		"partition":  r.partition,
		"size_bytes": strconv.Itoa(size),
	}}
}

func (e *engram) send(ctx context.Context, data grpc.ClientStream, out <-chan *message) error {
	for {
		encoded := encodeHeartbeat()
		select {
		case sent := <-out:
			var err error
			if encoded, err = encodeData(sent); err != nil {
				return err
			}
		case <-time.After(e.settings.dataHeartbeat):
		case <-ctx.Done():
			return ctx.Err()
		}
		done := make(chan error, 1)
		go func() { done <- data.SendMsg(&encoded) }()
		select {
		case err := <-done:
			if err != nil {
				return sendError(data, err)
			}
		case <-time.After(e.settings.messageTimeout):
			return errors.New("a message was not taken in time")
		}
	}
}

// sendError is the status of a call that has ended while a message was sent.
func sendError(data grpc.ClientStream, err error) error {
	var last []byte
	if received := data.RecvMsg(&last); received != nil {
		return ofPeer(received)
	}
	return ofPeer(err)
}

func (e *engram) listen(directives grpc.ClientStream) error {
	for {
		directive, err := receiveControl(directives)
		if err != nil {
			return ofPeer(err)
		}
		if err := answer(directives, directive); err != nil {
			return ofPeer(err)
		}
	}
}

func (e *engram) acknowledge(ctx context.Context, directives grpc.ClientStream, receipts <-chan control) error {
	heartbeat := time.NewTicker(e.settings.controlHeartbeat)
	defer heartbeat.Stop()
	for {
		var sent control
		select {
		case sent = <-receipts:
		case now := <-heartbeat.C:
			sent = control{action: actionHeartbeat, metadata: map[string]string{"ts": strconv.FormatInt(now.UnixMilli(), 10)}}
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := sendControl(directives, sent); err != nil {
			return ofPeer(err)
		}
	}
}

func answer(directives grpc.ClientStream, directive control) error {
	reason := map[uint64]string{1: "noop", actionReady: "startup", actionCapabilities: "capabilities", 11: "handoff", 12: "handoff", 13: "handoff"}
	if directive.action == actionAck {
		return nil
	}
	why, handled := reason[directive.action], directive.action > 1
	if why == "" {
		why, handled = "no_control_handler", false
	}
	return sendControl(directives, control{action: actionAck, metadata: map[string]string{
		"handled": strconv.FormatBool(handled), "reason": why, "type": directive.custom,
	}})
}

var writing sync.Mutex // one goroutine may send on a stream at a time

func sendControl(directives grpc.ClientStream, sent control) error {
	encoded := sent.encode()
	writing.Lock()
	defer writing.Unlock()
	return directives.SendMsg(&encoded)
}

func receiveControl(directives grpc.ClientStream) (control, error) {
	var encoded []byte
	if err := directives.RecvMsg(&encoded); err != nil {
		return control{}, ofPeer(err)
	}
	return decodeControl(encoded)
}

// ofPeer tells the end of a call from the end of the author's function.
func ofPeer(err error) error {
	if err == nil {
		return errors.New("the call has ended")
	}
	return err
}

// table has at most so many keys, the oldest goes first.
type table struct {
	mutex sync.Mutex
	limit int
	keys  map[string]bool
	order []string
}

func newTable(limit int) *table { return &table{limit: limit, keys: map[string]bool{}} }

func (t *table) has(key string) bool {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return t.keys[key]
}

func (t *table) add(key string) bool {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if t.keys[key] {
		return false
	}
	t.keys[key] = true
	if t.order = append(t.order, key); len(t.order) > t.limit {
		delete(t.keys, t.order[0])
		t.order = t.order[1:]
	}
	return true
}

func (t *table) remove(key string) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	delete(t.keys, key)
}
