// Records what bobrapet's storage package stores for some values, and what it reads from objects that another writer stored.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/bubustack/bobrapet/pkg/storage"
)

type stored struct {
	Name    string            `json:"name"`
	Value   json.RawMessage   `json:"value"`
	Kind    string            `json:"kind"`
	By      string            `json:"by,omitempty"`
	Result  any               `json:"result,omitempty"`
	Objects map[string]string `json:"objects,omitempty"`
	Read    any               `json:"read,omitempty"`
	Error   string            `json:"error,omitempty"`
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func manager(folder string) *storage.StorageManager {
	check(os.Setenv("BUBU_STORAGE_PROVIDER", "file"))
	check(os.Setenv("BUBU_STORAGE_PATH", folder))
	check(os.Setenv("BUBU_MAX_INLINE_SIZE", "100"))
	found, err := storage.NewManager(context.Background())
	check(err)
	return found
}

func objects(folder string) map[string]string {
	found := map[string]string{}
	check(filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		name, _ := filepath.Rel(folder, path)
		found[name] = string(content)
		return err
	}))
	return found
}

func store(each *stored) {
	folder, err := os.MkdirTemp("", "record")
	check(err)
	var value any
	check(json.Unmarshal(each.Value, &value))
	ctx, owner := context.Background(), storage.NamespacedKey("team", "run-step")
	if each.Kind == "inputs" {
		each.Result, err = manager(folder).DehydrateInputs(ctx, value, owner)
	} else {
		each.Result, err = manager(folder).Dehydrate(ctx, value, owner)
	}
	if err != nil {
		each.Error = err.Error()
	}
	each.Objects = objects(folder)
	each.Read, err = manager(folder).Hydrate(ctx, each.Result)
	check(err)
}

func read(each *stored) {
	folder, err := os.MkdirTemp("", "record")
	check(err)
	for key, content := range each.Objects {
		path := filepath.Join(folder, key)
		check(os.MkdirAll(filepath.Dir(path), 0o755))
		check(os.WriteFile(path, []byte(content), 0o600))
	}
	each.Read, err = manager(folder).Hydrate(context.Background(), each.Result)
	if err != nil {
		each.Error = err.Error()
	}
}

func main() {
	var wanted []*stored
	check(json.NewDecoder(os.Stdin).Decode(&wanted))
	for _, each := range wanted {
		if each.Result == nil {
			store(each)
		} else {
			read(each)
		}
	}
	out := new(bytes.Buffer)
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	check(encoder.Encode(wanted))
	_, err := os.Stdout.Write(out.Bytes())
	check(err)
}
