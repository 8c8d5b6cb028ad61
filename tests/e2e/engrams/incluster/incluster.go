// Package incluster is the connection to the API server that every Pod with a service account has, without any library.
package incluster

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// ServiceAccount is where every Pod finds token, namespace and authority.
const ServiceAccount = "/var/run/secrets/kubernetes.io/serviceaccount"

// Server is the API server.
type Server struct {
	url, token string
	http       *http.Client
}

// StatusError is an answer other than 2xx.
type StatusError struct {
	Code int
	text string
}

func (e *StatusError) Error() string { return e.text }

// Connect reads what the Pod was given.
func Connect() (*Server, error) {
	token, err := os.ReadFile(filepath.Join(ServiceAccount, "token"))
	if err != nil {
		return nil, err
	}
	pem, err := os.ReadFile(filepath.Join(ServiceAccount, "ca.crt"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, errors.New("ca.crt has no certificate")
	}
	address := net.JoinHostPort(os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT"))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	return &Server{"https://" + address, string(token), &http.Client{Transport: transport, Timeout: 30 * time.Second}}, nil
}

// Call sends body as JSON, and decodes the answer into into, which may be nil. Patches are merge patches.
func (s *Server) Call(method, path string, body, into any) error {
	content, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequest(method, s.url+path, bytes.NewReader(content))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+s.token)
	request.Header.Set("Content-Type", contentType(method))
	answer, err := s.http.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode >= 300 {
		return &StatusError{answer.StatusCode, fmt.Sprintf("%s %s: %d %s", method, path, answer.StatusCode, text)}
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(text, into)
}

func contentType(method string) string {
	if method == http.MethodPatch {
		return "application/merge-patch+json"
	}
	return "application/json"
}
