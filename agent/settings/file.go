package settings

import (
	"fmt"
	"io"
	"os"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

// bytesMax bounds a file; a larger one is something else.
const bytesMax = 1 << 20

// Load returns the bytes of the file at path, if it can be one of settings.
func Load(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	src, err := io.ReadAll(io.LimitReader(file, bytesMax+1))
	if err == nil && len(src) > bytesMax {
		err = fmt.Errorf("%s is larger than %d bytes", path, bytesMax)
	}
	return src, err
}

// Parse finds the attributes and blocks of B, whose fields have tags of gohcl,
// in src, and has read turn them into values. Name is what faults call the file;
// they come as one *Error. The warnings are what is allowed but odd, each with
// file and line.
func Parse[B any](name string, src []byte, read func(*B, *Reader)) (warnings []string, err error) {
	parser := hclparse.NewParser()
	file, diags := parser.ParseHCL(src, name)
	if file == nil || diags.HasErrors() {
		return nil, errorOf(name, parser.Files(), diags)
	}
	r := &Reader{context: environment(os.LookupEnv), top: file.Body.MissingItemRange()}
	var body B
	r.diags = gohcl.DecodeBody(file.Body, r.context, &body)
	read(&body, r)
	if r.diags.HasErrors() {
		return nil, errorOf(name, parser.Files(), r.diags)
	}
	return warningsOf(r.diags), nil
}

// environment is what expressions of a file may use: the function env, so that
// secrets can stay out of it and one file serves many machines.
func environment(lookup func(string) (string, bool)) *hcl.EvalContext {
	env := function.New(&function.Spec{
		Params: []function.Parameter{{Name: "name", Type: cty.String}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			value, ok := lookup(args[0].AsString())
			if !ok {
				return cty.NilVal, fmt.Errorf("the environment variable %s is not set", args[0].AsString())
			}
			return cty.StringVal(value), nil
		},
	})
	return &hcl.EvalContext{Functions: map[string]function.Function{"env": env}}
}
