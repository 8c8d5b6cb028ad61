package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// settings are what the container's environment says, with the defaults of the Go SDK.
type settings struct {
	binding          string // namespace/name, verbatim what Control presents
	endpoint         string
	buffer           int
	dialTimeout      time.Duration
	messageTimeout   time.Duration
	dataHeartbeat    time.Duration
	controlHeartbeat time.Duration
	maxRetries       int
	baseBackoff      time.Duration
	maxBackoff       time.Duration
}

func settingsOf(value func(string) string) (settings, error) {
	var found struct {
		Name, Namespace string
		Binding         *struct{ Endpoint, ProtocolVersion string }
	}
	text := value("BUBU_TRANSPORT_BINDING")
	if err := json.Unmarshal([]byte(text), &found); err != nil {
		return settings{}, fmt.Errorf("BUBU_TRANSPORT_BINDING: %w", err)
	}
	if found.Binding == nil || found.Binding.Endpoint == "" || found.Binding.ProtocolVersion != protocolVersion {
		return settings{}, fmt.Errorf("BUBU_TRANSPORT_BINDING: needs a binding with endpoint and protocolVersion %s", protocolVersion)
	}
	made := settings{
		binding:  found.Namespace + "/" + found.Name,
		endpoint: found.Binding.Endpoint,
	}
	problems := []string{}
	whole := func(name string, fallback int) int {
		text := value(name)
		if text == "" {
			return fallback
		}
		number, err := strconv.Atoi(text)
		if err != nil {
			problems = append(problems, fmt.Sprintf("%s: %v", name, err))
		}
		return number
	}
	duration := func(name string, fallback time.Duration) time.Duration {
		text := value(name)
		if text == "" {
			return fallback
		}
		length, err := time.ParseDuration(text)
		if err != nil {
			problems = append(problems, fmt.Sprintf("%s: %v", name, err))
		}
		return length
	}
	made.buffer = whole("BUBU_GRPC_CHANNEL_BUFFER_SIZE", 16)
	made.dialTimeout = duration("BUBU_GRPC_DIAL_TIMEOUT", 10*time.Second)
	made.messageTimeout = duration("BUBU_GRPC_MESSAGE_TIMEOUT", 30*time.Second)
	made.dataHeartbeat = min(duration("BUBU_GRPC_HEARTBEAT_INTERVAL", 10*time.Second), made.messageTimeout/2)
	made.controlHeartbeat = duration("BUBU_TRANSPORT_HEARTBEAT_INTERVAL", 30*time.Second)
	made.maxRetries = whole("BUBU_GRPC_RECONNECT_MAX_RETRIES", 10)
	made.baseBackoff = duration("BUBU_GRPC_RECONNECT_BASE_BACKOFF", 500*time.Millisecond)
	made.maxBackoff = duration("BUBU_GRPC_RECONNECT_MAX_BACKOFF", 30*time.Second)
	if len(problems) > 0 {
		return settings{}, fmt.Errorf("%s", strings.Join(problems, "; "))
	}
	return made, nil
}
