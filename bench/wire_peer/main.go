// The peer of the measurement of the wire: a relay on grpc-go, and the client that loads a relay.
//
//	wire_peer relay                        prints its port, relays until its input ends
//	wire_peer hub                          the same with a relay that does what the hub does (hub.go)
//	wire_peer load PORT COUNT HEX          sends COUNT copies of a message through the relay, prints the seconds
package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// raw sends and receives messages as bytes.
type raw struct{}

func (raw) Name() string                  { return "raw" }
func (raw) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }
func (raw) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = append([]byte(nil), data...)
	return nil
}

func main() {
	var err error
	switch os.Args[1] {
	case "relay":
		err = relay()
	case "hub":
		err = serveHub()
	default:
		err = load(os.Args[2], os.Args[3], os.Args[4])
	}
	if err != nil {
		log.Fatal(err)
	}
}

func relay() error {
	sinks := make(chan grpc.ServerStream, 1)
	handler := func(_ any, stream grpc.ServerStream) error {
		if method, _ := grpc.MethodFromServerStream(stream); method == "/bench.Wire/Sink" {
			sinks <- stream
			<-stream.Context().Done()
			return nil
		}
		sink := <-sinks
		for {
			var message []byte
			if err := stream.RecvMsg(&message); err != nil {
				return nil
			}
			if err := sink.SendMsg(&message); err != nil {
				return err
			}
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := grpc.NewServer(grpc.UnknownServiceHandler(handler), grpc.ForceServerCodec(raw{}))
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		server.Stop()
	}()
	return server.Serve(listener)
}

func load(port, countText, text string) error {
	count, err := strconv.Atoi(countText)
	if err != nil {
		return err
	}
	message, err := hex.DecodeString(text)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	sink, err := open(ctx, port, "Sink")
	if err != nil {
		return err
	}
	source, err := open(ctx, port, "Source")
	if err != nil {
		return err
	}
	begun := time.Now()
	go func() {
		for range count {
			if err := source.SendMsg(&message); err != nil {
				return
			}
		}
		_ = source.CloseSend()
	}()
	for range count {
		var received []byte
		if err := sink.RecvMsg(&received); err != nil {
			return err
		}
	}
	fmt.Println(time.Since(begun).Seconds())
	return nil
}

// open begins a call on a connection of its own, as each engram has one.
func open(ctx context.Context, port, method string) (grpc.ClientStream, error) {
	connection, err := grpc.NewClient(
		"127.0.0.1:"+port,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{})),
	)
	if err != nil {
		return nil, err
	}
	return connection.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/bench.Wire/"+method)
}
