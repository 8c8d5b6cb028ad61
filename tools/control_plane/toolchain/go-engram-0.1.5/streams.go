package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	sdk "github.com/bubustack/bubu-sdk-go"
	"github.com/bubustack/bubu-sdk-go/engram"
)

// sendTime is how long a source waits at its end: the SDK discards what it has not sent when Stream returns, and says
// to nobody what it has sent.
const sendTime = 5 * time.Second

const lookTime = 10 * time.Millisecond

type number struct {
	N int `json:"n"`
}

// source goes on after a reconnect where it was, as a source with a cursor of its own does.
type source struct {
	withoutInit
	count  int
	pause  time.Duration
	folder string
	next   int
}

func newSource(count, pause, folder string) (*source, error) {
	made := &source{folder: folder}
	var err error
	if made.count, err = strconv.Atoi(count); err != nil {
		return nil, err
	}
	made.pause, err = time.ParseDuration(pause)
	return made, err
}

func (s *source) Stream(ctx context.Context, _ <-chan engram.InboundMessage, out chan<- engram.StreamMessage) error {
	if err := s.waitForFlow(ctx); err != nil {
		return err
	}
	for ; s.next < s.count; s.next++ {
		message, err := messageOf(s.next, fmt.Sprintf("message-%d", s.next))
		if err != nil {
			return err
		}
		if err := send(ctx, out, message); err != nil {
			return err
		}
		if s.folder != "" {
			if err := appendLine(filepath.Join(s.folder, "sent"), strconv.Itoa(s.next)); err != nil {
				return err
			}
		}
		if err := sleep(ctx, s.pause); err != nil {
			s.next++
			return err
		}
	}
	for len(out) > 0 {
		if err := sleep(ctx, lookTime); err != nil {
			return err
		}
	}
	if err := sleep(ctx, sendTime); err != nil {
		return err
	}
	if s.folder != "" {
		return appendLine(filepath.Join(s.folder, "returned"), "")
	}
	return nil
}

func (s *source) waitForFlow(ctx context.Context) error {
	for s.folder != "" {
		_, err := os.Stat(filepath.Join(s.folder, "flow"))
		if err == nil {
			return nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if err := sleep(ctx, lookTime); err != nil {
			return err
		}
	}
	return nil
}

type transform struct{ withoutInit }

func (transform) Stream(ctx context.Context, in <-chan engram.InboundMessage, out chan<- engram.StreamMessage) error {
	for received := range in {
		var found number
		if err := json.Unmarshal(received.Payload, &found); err != nil {
			return err
		}
		message, err := messageOf(2*found.N, received.MessageID)
		if err != nil {
			return err
		}
		if err := send(ctx, out, message); err != nil {
			return err
		}
		received.Done()
	}
	return ctx.Err()
}

type sink struct {
	withoutInit
	file string
}

func (s sink) Stream(ctx context.Context, in <-chan engram.InboundMessage, _ chan<- engram.StreamMessage) error {
	for received := range in {
		var found number
		if err := json.Unmarshal(received.Payload, &found); err != nil {
			return err
		}
		if err := appendLine(s.file, fmt.Sprintf("%d %s", found.N, received.MessageID)); err != nil {
			return err
		}
		received.Done()
	}
	return ctx.Err()
}

type note struct {
	withoutInit
	file string
}

// Stream writes an empty text where the message has no payload or inputs.
func (n note) Stream(ctx context.Context, in <-chan engram.InboundMessage, _ chan<- engram.StreamMessage) error {
	for received := range in {
		line, err := json.Marshal(map[string]string{
			"id":      received.MessageID,
			"kind":    received.Kind,
			"payload": string(received.Payload),
			"inputs":  string(received.Inputs),
		})
		if err != nil {
			return err
		}
		if err := appendLine(n.file, string(line)); err != nil {
			return err
		}
		received.Done()
	}
	return ctx.Err()
}

func messageOf(n int, id string) (engram.StreamMessage, error) {
	data, err := sdk.WithJSONData(number{n})
	return sdk.NewStreamMessage("data", sdk.WithMessageID(id), data), err
}

func send(ctx context.Context, out chan<- engram.StreamMessage, message engram.StreamMessage) error {
	select {
	case out <- message:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func sleep(ctx context.Context, pause time.Duration) error {
	select {
	case <-time.After(pause):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// appendLine returns once the line is in the file, which another process may have opened, too.
func appendLine(path, line string) error {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = file.WriteString(line + "\n")
	return err
}
