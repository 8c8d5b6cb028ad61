// A streaming engram on grpc-go that behaves as a container of the Go SDK does: buffers, receipts, duplicates,
// heartbeats, reconnects and exit codes. It is written from the contract of that SDK, and has none of its code.
//
//	modelled-engram count N PAUSE    sends the numbers below N, pauses after each 50, and waits to be ended
//	modelled-engram double           sends twice each number
//	modelled-engram keep FILE [PAUSE]  appends each number to the file, and pauses after each
//
// Not modelled: chunks, media frames, storage, templates.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func main() {
	log.SetFlags(log.Ltime | log.Lmicroseconds)
	work, err := workOf(os.Args[1:])
	if err != nil {
		log.Fatal(err)
	}
	settings, err := settingsOf(os.Getenv)
	if err != nil {
		log.Fatal(err)
	}
	engram := newEngram(settings, work)
	ends := make(chan os.Signal, 1)
	signal.Notify(ends, syscall.SIGTERM, syscall.SIGINT)
	ended := make(chan error, 1)
	go func() { ended <- engram.run(context.Background()) }()
	select {
	case <-ends:
		engram.report()
		os.Exit(1) // as the Go SDK does
	case err := <-ended:
		engram.report()
		if err != nil {
			log.Fatal(err)
		}
	}
}

// work is the function of the engram's author. It is called again in each session.
type work func(ctx context.Context, in <-chan *message, out chan<- *message) error

func workOf(arguments []string) (work, error) {
	name := ""
	if len(arguments) > 0 {
		name = arguments[0]
	}
	switch {
	case name == "count" && len(arguments) == 3:
		count, err := strconv.Atoi(arguments[1])
		if err != nil {
			return nil, err
		}
		pause, err := time.ParseDuration(arguments[2])
		if err != nil {
			return nil, err
		}
		return counter(count, pause), nil
	case name == "double" && len(arguments) == 1:
		return double, nil
	case name == "keep" && len(arguments) >= 2:
		pause := time.Duration(0)
		if len(arguments) == 3 {
			var err error
			if pause, err = time.ParseDuration(arguments[2]); err != nil {
				return nil, err
			}
		}
		return keeper(arguments[1], pause), nil
	}
	return nil, fmt.Errorf("usage: modelled-engram count N PAUSE | double | keep FILE [PAUSE]")
}

// counter goes on after a reconnect where it was, as a source with a cursor of its own does.
func counter(count int, pause time.Duration) work {
	next := 0
	return func(ctx context.Context, _ <-chan *message, out chan<- *message) error {
		for ; next < count; next++ {
			select {
			case out <- newMessage(next):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			if next%50 == 0 {
				time.Sleep(pause)
			}
		}
		<-ctx.Done()
		return context.Cause(ctx)
	}
}

func double(ctx context.Context, in <-chan *message, out chan<- *message) error {
	for {
		select {
		case received := <-in:
			select {
			case out <- newMessage(2 * received.number):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			received.done()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func keeper(path string, pause time.Duration) work {
	return func(ctx context.Context, in <-chan *message, _ chan<- *message) error {
		file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		defer file.Close()
		for {
			select {
			case received := <-in:
				line, err := json.Marshal(map[string]any{"n": received.number, "inputs": received.inputs})
				if err != nil {
					return err
				}
				if _, err := file.Write(append(line, '\n')); err != nil {
					return err
				}
				received.done()
				time.Sleep(pause)
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
}
