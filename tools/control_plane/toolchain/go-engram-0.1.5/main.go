// One program on the unmodified Go SDK: Engrams of batch and of streams, and an Impulse. It is built once for each
// version of the SDK that is pinned beside it.
//
//	batch                         outputs the half of the input "number", and its double
//	effect FILE                   adds a line to FILE once, dies before it has said so, and outputs {"already": true}
//	source COUNT PAUSE [FOLDER]   sends the numbers below COUNT, with message ids, and ends
//	transform                     sends each message on with its number doubled, under the same message id
//	note FILE                     adds a line of JSON to FILE for each message: its id, kind, payload and inputs
//	sink FILE                     adds a line "NUMBER ID" to FILE for each message
//	impulse                       starts a run of its Story for each of its "events", and waits to be ended
//	register                      writes an annotation of its own Impulse, and waits to be ended
//
// With FOLDER the source waits for the file "flow" there. It notes each number that the SDK has taken in "sent", and
// makes "returned" when it ends.
package main

import (
	"context"
	"errors"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/bubustack/bobrapet/api/v1alpha1"
	sdk "github.com/bubustack/bubu-sdk-go"
	"github.com/bubustack/bubu-sdk-go/engram"
	"github.com/bubustack/bubu-sdk-go/k8s"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		log.Print(err)
		os.Exit(sdk.BatchExitCode(err))
	}
}

func run(ctx context.Context, arguments []string) error {
	switch name := argument(arguments, 0); {
	case name == "batch" && len(arguments) == 1:
		return sdk.StartBatch(ctx, batch{})
	case name == "effect" && len(arguments) == 2:
		return sdk.StartBatch(ctx, effect{file: arguments[1]})
	case name == "source" && (len(arguments) == 3 || len(arguments) == 4):
		made, err := newSource(arguments[1], arguments[2], argument(arguments, 3))
		if err != nil {
			return err
		}
		return sdk.StartStreaming(ctx, made)
	case name == "transform" && len(arguments) == 1:
		return sdk.StartStreaming(ctx, transform{})
	case name == "note" && len(arguments) == 2:
		return sdk.StartStreaming(ctx, note{file: arguments[1]})
	case name == "sink" && len(arguments) == 2:
		return sdk.StartStreaming(ctx, sink{file: arguments[1]})
	case name == "impulse" && len(arguments) == 1:
		return sdk.RunImpulse(ctx, &impulse{})
	case name == "register" && len(arguments) == 1:
		return sdk.RunImpulse(ctx, register{})
	}
	return errors.New("usage: batch | effect FILE | source COUNT PAUSE [FOLDER] | transform | note FILE | sink FILE | impulse | register")
}

func argument(arguments []string, number int) string {
	if number < len(arguments) {
		return arguments[number]
	}
	return ""
}

// config is what the step's or the Impulse's "with" says.
type config struct {
	Events []map[string]any
}

type withoutInit struct{}

func (withoutInit) Init(context.Context, config, *engram.Secrets) error { return nil }

type inputs struct {
	Number float64
}

type batch struct{ withoutInit }

func (batch) Process(_ context.Context, _ *engram.ExecutionContext, given inputs) (*engram.Result, error) {
	return engram.NewResultFrom(map[string]any{"half": given.Number / 2, "double": given.Number * 2}), nil
}

type effect struct {
	withoutInit
	file string
}

// Process dies at the worst moment: the effect is recorded, and nobody knows yet that the step has ended.
func (e effect) Process(ctx context.Context, _ *engram.ExecutionContext, _ inputs) (*engram.Result, error) {
	_, already, err := sdk.ExecuteEffectOnce(ctx, "charge", func(context.Context) (any, error) {
		return map[string]any{"charged": 1}, appendLine(e.file, "charged")
	})
	if already {
		return engram.NewResultFrom(map[string]any{"already": true}), nil
	}
	if err != nil {
		return nil, err
	}
	return nil, syscall.Kill(os.Getpid(), syscall.SIGKILL)
}

type impulse struct {
	events []map[string]any
}

func (i *impulse) Init(_ context.Context, given config, _ *engram.Secrets) error {
	i.events = given.Events
	return nil
}

func (i *impulse) Run(ctx context.Context, _ *k8s.Client) error {
	dispatcher := sdk.NewStoryDispatcher()
	for _, event := range i.events {
		token, _ := event["token"].(string)
		given, _ := event["inputs"].(map[string]any)
		if _, err := dispatcher.Trigger(ctx, sdk.StoryTriggerRequest{TriggerToken: token, Inputs: given}); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

type register struct{ withoutInit }

func (register) Run(ctx context.Context, api *k8s.Client) error {
	itself := &v1alpha1.Impulse{ObjectMeta: metav1.ObjectMeta{
		Name:      os.Getenv("BUBU_IMPULSE_NAME"),
		Namespace: os.Getenv("BUBU_IMPULSE_NAMESPACE"),
	}}
	patch := []byte(`{"metadata": {"annotations": {"people.example/listens": "yes"}}}`)
	if err := api.Patch(ctx, itself, client.RawPatch(types.MergePatchType, patch)); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}
