package box

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/deacon-agent/deacon/isolation"
)

func TestWhatWasAmendedIsFoundByASuccessor(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	spec := m.spec(0)
	if _, err := b.Create(t.Context(), spec, nil); err != nil {
		t.Fatal(err)
	}
	if err := b.Note(t.Context(), spec.ID, json.RawMessage(`{"events":["one"]}`)); err != nil {
		t.Fatal(err)
	}
	refused := errors.New("refused")
	for name, err := range map[string]error{
		"change": b.amend(t.Context(), spec.ID, func(s *isolation.Spec) error { s.Hostname = "x"; return refused }, nil),
		"effect": b.amend(t.Context(), spec.ID, func(s *isolation.Spec) error { s.Hostname = "x"; return nil },
			func(isolation.Spec) error { return refused }),
	} {
		if !errors.Is(err, refused) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
	if err := b.Note(t.Context(), "00000000000", nil); !errors.Is(err, isolation.ErrUnknown) {
		t.Errorf("error is %v, want ErrUnknown", err)
	}
	if status, err := b.Adopt(t.Context(), spec.ID); err != nil || string(status.Spec.Note) != `{"events":["one"]}` {
		t.Errorf("here the spec is %+v, %v", status.Spec, err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}

	b, found := m.open()
	defer m.end(b)
	if len(found) != 1 || string(found[0].Note) != `{"events":["one"]}` || found[0].Hostname != spec.Hostname {
		t.Errorf("a successor finds %+v", found)
	}
	if err := b.Destroy(context.Background(), spec.ID); err != nil {
		t.Error(err)
	}
}
