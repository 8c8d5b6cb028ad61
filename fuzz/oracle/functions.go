package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"sort"
	"strings"
	"text/template"
	"time"
	"unicode"

	"github.com/Masterminds/sprig/v3"
)

// The functions templates may call: Sprig's, by name (templating contract 10 and 11), the contract's own (9), and a few
// of Sprig's replaced where what Sprig does is random, changes its arguments, or reads the clock.

const sprigNames = `
abbrev abbrevboth add add1 add1f addf adler32sum all any append atoi b32dec b32enc b64dec b64enc base biggest camelcase
cat ceil clean coalesce compact concat contains date dateInZone dateModify date_in_zone date_modify deepEqual default dict
dig dir div divf duration durationRound empty ext fail first float64 floor fromJson get has hasKey hasPrefix hasSuffix
htmlDate htmlDateInZone indent initial initials int int64 isAbs join kebabcase keys kindIs kindOf last list lower max maxf
min minf mod mul mulf mustAppend mustCompact mustDateModify mustFirst mustFromJson mustHas mustInitial mustLast
mustPrepend mustPush mustRest mustReverse mustSlice mustToDate mustToJson mustToPrettyJson mustToRawJson
mustUniq mustWithout must_date_modify nindent nospace now omit osBase osClean osDir osExt osIsAbs pick pluck plural
prepend push quote randAlpha randAlphaNum randAscii randInt randNumeric replace rest reverse round semver semverCompare
sha1sum sha256sum slice snakecase sortAlpha split splitList splitn squote sub subf substr ternary title toDate toDecimal
toJson toPrettyJson toRawJson toString toStrings trim trimAll trimPrefix trimSuffix trimall trunc tuple typeIs typeIsLike
typeOf uniq unixEpoch untitle upper uuidv4 values without wrap wrapWith

ago chunk deepCopy hello merge mergeOverwrite mustChunk mustDeepCopy mustMerge mustMergeOverwrite mustRegexFind
mustRegexFindAll mustRegexMatch mustRegexReplaceAll mustRegexReplaceAllLiteral mustRegexSplit regexFind regexFindAll
regexMatch regexQuoteMeta regexReplaceAll regexReplaceAllLiteral regexSplit repeat seq set sha512sum shuffle swapcase
until untilStep unset randBytes urlJoin urlParse`

var (
	functions    = allFunctions()
	errOffloaded = errors.New("offloaded data")
	present      = time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
)

func allFunctions() template.FuncMap {
	known, offered := sprig.TxtFuncMap(), template.FuncMap{}
	for _, name := range strings.Fields(sprigNames) {
		if function, ok := known[name]; ok {
			offered[name] = function
		}
	}
	own := template.FuncMap{
		"len": length, "hash_of": hashOf, "type_of": typeOf, "exists": func(v any) bool { return v != nil },
		"sample": sample,
		// Known from Helm, and from Sprig's pattern of names.
		"required": required, "mustRegexQuoteMeta": known["regexQuoteMeta"],
		// Random order in Sprig.
		"keys": sortedKeys, "values": sortedValues,
		// Sprig's change their first argument, which the engine under test never does.
		"set":   func(m map[string]any, key string, value any) map[string]any { c := copied(m); c[key] = value; return c },
		"unset": func(m map[string]any, key string) map[string]any { c := copied(m); delete(c, key); return c },
		"merge": onCopy(known, "merge"), "mergeOverwrite": onCopy(known, "mergeOverwrite"),
		"mustMerge": onCopy(known, "merge"), "mustMergeOverwrite": onCopy(known, "mergeOverwrite"),
		// Sprig's corrupt what is not ASCII.
		// The present is always the same.
		"now":     func() time.Time { return present },
		"nospace": withoutSpace, "initials": initials,
	}
	maps.Copy(offered, own)
	for _, name := range strings.Fields("date dateInZone date_in_zone htmlDate htmlDateInZone") {
		offered[name] = atPresent(known[name])
	}
	return offered
}

func length(value any) (int, error) {
	if _, stored := referenceTarget(value); stored {
		return 0, errOffloaded
	}
	if value == nil {
		return 0, nil
	}
	switch v := reflect.ValueOf(value); v.Kind() {
	case reflect.String, reflect.Slice, reflect.Map:
		return v.Len(), nil
	}
	return 0, fmt.Errorf("a value of type %T has no length", value)
}

func hashOf(value any) (string, error) {
	if _, stored := referenceTarget(value); stored {
		return "", errOffloaded
	}
	text, ok := value.(string)
	if !ok {
		return "", fmt.Errorf("a value of type %T has no hash", value)
	}
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:]), nil
}

func typeOf(value any) string {
	if target, stored := referenceTarget(value); stored {
		path, _ := value.(map[string]any)[storagePath].(string)
		if path != "" && path[0] != '.' && path[0] != '[' {
			path = "." + path
		}
		return "offloaded(" + target + path + ")"
	}
	if value == nil {
		return "null"
	}
	switch kind := reflect.TypeOf(value).Kind(); {
	case kind == reflect.String:
		return "string"
	case kind == reflect.Bool:
		return "bool"
	case kind == reflect.Slice:
		return "array"
	case kind >= reflect.Int && kind <= reflect.Float64 && reflect.TypeOf(value).PkgPath() == "":
		return "number"
	}
	return "object"
}

func sample(value any) (any, error) {
	if _, stored := referenceTarget(value); stored {
		return nil, errOffloaded
	}
	return value, nil
}

func required(message string, value any) (any, error) {
	if value == nil || value == "" {
		return nil, errors.New(message)
	}
	return value, nil
}

func sortedKeys(maps ...map[string]any) []string {
	found := []string{}
	for _, m := range maps {
		names := make([]string, 0, len(m))
		for name := range m {
			names = append(names, name)
		}
		sort.Strings(names)
		found = append(found, names...)
	}
	return found
}

func sortedValues(m map[string]any) []any {
	found := []any{}
	for _, name := range sortedKeys(m) {
		found = append(found, m[name])
	}
	return found
}

func copied(value map[string]any) map[string]any {
	result := make(map[string]any, len(value))
	for key, item := range value {
		if inner, ok := item.(map[string]any); ok {
			item = copied(inner)
		}
		result[key] = item
	}
	return result
}

func onCopy(known template.FuncMap, name string) any {
	merge := known[name].(func(map[string]any, ...map[string]any) any)
	return func(target map[string]any, sources ...map[string]any) any {
		copies := make([]map[string]any, len(sources))
		for i, source := range sources {
			copies[i] = copied(source)
		}
		return merge(copied(target), copies...)
	}
}

func withoutSpace(text string) string {
	return strings.Map(func(char rune) rune {
		if unicode.IsSpace(char) {
			return -1
		}
		return char
	}, text)
}

func initials(text string) string {
	var first strings.Builder
	atStart := true
	for _, char := range text {
		if unicode.IsSpace(char) {
			atStart = true
		} else if atStart {
			first.WriteRune(char)
			atStart = false
		}
	}
	return first.String()
}

// atPresent gives the function the fixed present where Sprig takes the clock's: for anything that is neither a time nor
// a whole number. A whole number that comes from JSON is one here too, which is where the engine differs.
func atPresent(function any) any {
	inner := reflect.ValueOf(function)
	return reflect.MakeFunc(inner.Type(), func(arguments []reflect.Value) []reflect.Value {
		for i, argument := range arguments {
			if argument.Kind() != reflect.Interface {
				continue
			}
			var replaced any = present
			switch value := argument.Interface().(type) {
			case time.Time, *time.Time, int, int32, int64:
				continue
			case float64:
				if value == math.Trunc(value) && math.Abs(value) < math.MaxInt64 {
					replaced = int64(value)
				}
			}
			arguments[i] = reflect.ValueOf(&replaced).Elem()
		}
		return inner.Call(arguments)
	}).Interface()
}
