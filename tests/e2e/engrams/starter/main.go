// Starter is an Impulse in Go without any library. It submits as the Go SDK does: into the namespace of its Story, with a
// token as the key, names and hashes of its own; it takes an existing request for its own if it is equal, asks for the
// decision every 50 ms, reads the run, and adds to the counters of its Impulse without a version.
package main

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"reflect"
	"syscall"
	"time"

	"programs/incluster"
)

type object = map[string]any

type storyTrigger struct {
	Spec   object
	Status struct {
		Decision, Message string
		StoryRunRef       struct{ Name, Namespace string }
	}
}

func main() {
	stopped := make(chan os.Signal, 1)
	signal.Notify(stopped, syscall.SIGTERM)
	if err := start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	<-stopped
}

// start submits the events of BUBU_STEP_CONFIG, one after the other.
func start() error {
	var config struct {
		Events []struct {
			Token  string
			Inputs object
		}
	}
	if err := json.Unmarshal([]byte(os.Getenv("BUBU_STEP_CONFIG")), &config); err != nil {
		return err
	}
	if mode := os.Getenv("BUBU_TRIGGER_DEDUPE_MODE"); mode != "token" {
		return fmt.Errorf("BUBU_TRIGGER_DEDUPE_MODE is %q", mode)
	}
	cluster, err := incluster.Connect()
	if err != nil {
		return err
	}
	for _, event := range config.Events {
		run, err := trigger(cluster, event.Token, event.Inputs)
		if err != nil {
			return err
		}
		fmt.Println(event.Token, run)
		if err := count(cluster); err != nil {
			return err
		}
	}
	return nil
}

// trigger returns the name of the run of an event.
func trigger(cluster *incluster.Server, token string, inputs object) (string, error) {
	namespace, story := os.Getenv("BUBU_TARGET_STORY_NAMESPACE"), os.Getenv("BUBU_TARGET_STORY_NAME")
	canonical, err := json.Marshal(inputs) // sorted keys, HTML escaped
	if err != nil {
		return "", err
	}
	hash := sha256.Sum256(canonical)
	seed := sha1.Sum([]byte(namespace + "/" + story + "/" + token))
	name := story + "-trigger-" + hex.EncodeToString(seed[:8])
	spec := object{
		"storyRef": object{"name": story, "namespace": namespace},
		"impulseRef": object{
			"name":      os.Getenv("BUBU_IMPULSE_NAME"),
			"namespace": os.Getenv("BUBU_IMPULSE_NAMESPACE"),
		},
		"deliveryIdentity": object{
			"mode": "token", "key": token, "submissionId": token, "inputHash": hex.EncodeToString(hash[:]),
		},
		"inputs": inputs,
	}
	path := "/apis/runs.bubustack.io/v1alpha1/namespaces/" + namespace + "/storytriggers"
	created := cluster.Call(http.MethodPost, path, object{
		"apiVersion": "runs.bubustack.io/v1alpha1", "kind": "StoryTrigger",
		"metadata": object{"name": name, "namespace": namespace}, "spec": spec,
	}, nil)
	var status *incluster.StatusError
	exists := errors.As(created, &status) && status.Code == http.StatusConflict
	if created != nil && !exists {
		return "", created
	}
	for until := time.Now().Add(30 * time.Second); time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
		var found storyTrigger
		if err := cluster.Call(http.MethodGet, path+"/"+name, nil, &found); err != nil {
			return "", err
		}
		if exists && !reflect.DeepEqual(found.Spec, spec) {
			return "", fmt.Errorf("%s is another request: %v", name, found.Spec)
		}
		switch found.Status.Decision {
		case "Created", "Reused":
			return runOf(cluster, found, namespace)
		case "Rejected":
			return "", errors.New(found.Status.Message)
		}
	}
	return "", fmt.Errorf("%s is still pending", name)
}

func runOf(cluster *incluster.Server, found storyTrigger, namespace string) (string, error) {
	reference := found.Status.StoryRunRef
	if reference.Namespace != "" {
		namespace = reference.Namespace
	}
	path := "/apis/runs.bubustack.io/v1alpha1/namespaces/" + namespace + "/storyruns/" + reference.Name
	return reference.Name, cluster.Call(http.MethodGet, path, nil, &object{})
}

// count adds a trigger to the counters of the Impulse, as the Go SDK does after each start.
func count(cluster *incluster.Server) error {
	path := fmt.Sprintf("/apis/bubustack.io/v1alpha1/namespaces/%s/impulses/%s",
		os.Getenv("BUBU_IMPULSE_NAMESPACE"), os.Getenv("BUBU_IMPULSE_NAME"))
	var impulse struct {
		Status struct{ TriggersReceived, StoriesLaunched int }
	}
	if err := cluster.Call(http.MethodGet, path, nil, &impulse); err != nil {
		return err
	}
	now := time.Now().UTC().Format(time.RFC3339)
	return cluster.Call(http.MethodPatch, path+"/status", object{"status": object{
		"triggersReceived": impulse.Status.TriggersReceived + 1, "lastTrigger": now,
		"storiesLaunched": impulse.Status.StoriesLaunched + 1, "lastSuccess": now,
	}}, nil)
}
