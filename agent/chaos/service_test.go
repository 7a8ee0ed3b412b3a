package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/isolation"
)

// kernel is one without containers, whose Destroy counts.
type kernel struct {
	*Steps
	destroyed int
	fails     error
}

func (k *kernel) Containers(context.Context) ([]isolation.Spec, error) { return nil, k.fails }
func (k *kernel) Destroy(context.Context, string) error                { k.destroyed++; return nil }
func (k *kernel) Create(context.Context, isolation.Spec, *isolation.Job) (isolation.Status, error) {
	return isolation.Status{}, errors.New("created")
}

func newService(t *testing.T) (*Service, *Node) {
	t.Helper()
	n := &Node{
		ID: "n", State: t.TempDir(), Kernel: &kernel{}, Log: hclog.NewNullLogger(),
		Panics: new(Panics), Steps: Before(&kernel{}), Line: NewLine(), Clock: new(Clock),
	}
	s := NewService("n", n)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, n
}

func ask[T any](t *testing.T, s *Service, verb string, question any) (answer T, code string) {
	t.Helper()
	body, err := json.Marshal(question)
	if err != nil {
		t.Fatal(err)
	}
	body, err = s.Answer(verb, body)
	if err != nil {
		refused, ok := errors.AsType[*RefusedError](err)
		if !ok {
			t.Fatalf("an error without a code: %v", err)
		}
		return answer, refused.Code()
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		t.Fatal(err)
	}
	return answer, ""
}

func TestANodeThatDoesNotAllowChaosRefusesEverything(t *testing.T) {
	s := NewService("n", nil)
	for _, verb := range append(Verbs, "other") {
		if _, code := ask[Listing](t, s, verb, struct{}{}); code != CodeNotAllowed {
			t.Errorf("%s: %q", verb, code)
		}
	}
	_, err := s.Answer(VerbList, nil)
	if !strings.Contains(err.Error(), "chaos { allow = true }") {
		t.Errorf("no remedy in %q", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestEveryFaultIsWhole(t *testing.T) {
	s, _ := newService(t)
	listing, _ := ask[Listing](t, s, VerbList, struct{}{})
	if len(listing.Faults) != len(All())+1 || listing.PID != os.Getpid() {
		t.Fatalf("listing %+v", listing)
	}
	seen := map[string]bool{}
	for _, f := range listing.Faults {
		if seen[f.Name] || f.Does == "" || f.Heals == "" || f.Harms == "" || f.Available == (f.Why != "") {
			t.Errorf("%+v", f)
		}
		seen[f.Name] = true
	}
	for _, f := range All() {
		if f.Available == nil || f.Inject == nil {
			t.Errorf("%s can't be done", f.Name)
		}
	}
}

func TestWhatCantBeDoneIsRefusedWithItsCode(t *testing.T) {
	s, n := newService(t)
	for want, order := range map[string]any{
		CodeUnknown:     Order{ID: "1", Fault: "init-kiled"},
		CodeUnavailable: Order{ID: "2", Fault: "agent-killed"}, // nobody would start it again
		CodeMalformed:   Order{Fault: "steps-slow"},
	} {
		if _, code := ask[Injected](t, s, VerbInject, order); code != want {
			t.Errorf("%+v: %q, want %q", order, code, want)
		}
	}
	if _, code := ask[Injected](t, s, VerbInject, Order{ID: "3", Fault: "memory-pressure", Size: SizeMax}); code != CodeUnavailable {
		t.Errorf("more memory than there is: %q", code)
	}
	n.Kernel = &kernel{fails: errors.New("it can't be asked")}
	if _, code := ask[Injected](t, s, VerbInject, Order{ID: "4", Fault: "init-killed"}); code != CodeFailed {
		t.Errorf("a kernel that can't be asked: %q", code)
	}
	for _, body := range []string{
		"", "[]", "{", `{"id":"1","fault":"steps-slow","typo":1}`, `{"id":"1","fault":"steps-slow","for":"1"}`,
		`{"id":"1","fault":"steps-slow","for":"11m"}`, `{"id":"1","fault":"steps-slow","delay":"-1s"}`,
		`{"id":"1","fault":"steps-fail","rate":1.5}`, `{"id":"1","fault":"memory-pressure","size":-1}`,
	} {
		_, err := s.Answer(VerbInject, []byte(body))
		if refused, ok := errors.AsType[*RefusedError](err); !ok || refused.Code() != CodeMalformed {
			t.Errorf("%s: %v", body, err)
		}
	}
	if _, code := ask[Healed](t, s, "hael", struct{}{}); code != CodeMalformed {
		t.Errorf("another verb: %q", code)
	}
}

func TestAnOrderThatComesTwiceIsCarriedOutOnce(t *testing.T) {
	s, n := newService(t)
	order := Order{ID: "one", Fault: "steps-slow", Delay: Span(time.Millisecond)}
	first, _ := ask[Injected](t, s, VerbInject, order)
	n.Steps.slow(0) // as if it were over
	again, code := ask[Injected](t, s, VerbInject, order)
	if code != "" || first != again || n.Steps.delay != 0 {
		t.Errorf("first %+v, again %+v (%s), delay %s", first, again, code, n.Steps.delay)
	}
	order = Order{ID: "three", Fault: "init-killed"}
	if _, code := ask[Injected](t, s, VerbInject, order); code != CodeUnavailable {
		t.Errorf("where nobody lives: %q", code)
	}
	n.Kernel = &kernel{fails: errors.New("it was asked again")}
	if _, code := ask[Injected](t, s, VerbInject, order); code != CodeUnavailable {
		t.Errorf("an order that was refused is carried out when it comes again: %q", code)
	}
	order = Order{ID: "two", Fault: "steps-slow"}
	if _, code := ask[Injected](t, s, VerbInject, order); code != CodeUnavailable {
		t.Errorf("the same fault on top of itself: %q", code)
	}
}

func TestAFaultIsHealedByItsTimeOrWhenTold(t *testing.T) {
	s, n := newService(t)
	ask[Injected](t, s, VerbInject, Order{ID: "short", Fault: "steps-slow", For: Span(time.Millisecond)})
	for deadline := time.Now().Add(awhile); len(s.heal("none").IDs) != 0 || !idle(s); {
		if time.Now().After(deadline) {
			t.Fatal("it heals itself not at all")
		}
	}
	ask[Injected](t, s, VerbInject, Order{ID: "long", Fault: "clock-jumped", For: Span(time.Minute), Size: 60})
	if ahead := time.Until(n.Clock.Now()); ahead < 50*time.Second {
		t.Errorf("the clock is %s ahead", ahead)
	}
	healed, _ := ask[Healed](t, s, VerbHeal, Healing{})
	if len(healed.IDs) != 1 || healed.IDs[0] != "long" || len(healed.Errors) != 0 {
		t.Errorf("healed %+v", healed)
	}
	if ahead := time.Until(n.Clock.Now()); ahead > time.Second {
		t.Errorf("the clock is %s ahead", ahead)
	}
}

func idle(s *Service) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.active) == 0
}

// What waits for the answer to be out must not come after its own healing.
func TestAFaultThatIsHealedBeforeItBeganNeverBegins(t *testing.T) {
	s, n := newService(t)
	ask[Injected](t, s, VerbInject, Order{ID: "one", Fault: "nats-partitioned"})
	if n.Line.now().held {
		t.Fatal("it began before the answer was out")
	}
	done := s.active["one"]
	s.heal("")
	s.begin("one", Injection{Begin: func() { t.Error("it began") }, Heal: done.heal})
}

func TestWhatFaultsPutOnDiskGoesAtTheNextStart(t *testing.T) {
	_, n := newService(t)
	folder, err := n.ballast()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "full"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(n.State, "node")
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Clean(n.State); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
	if _, err := os.Stat(other); err != nil {
		t.Error(err)
	}
}

// The disk of the machine is never filled.
func TestADiskThatOthersUseIsNotFilled(t *testing.T) {
	_, n := newService(t)
	for _, f := range []Fault{diskFull, noInodes} {
		if err := f.Available(n); err == nil || !strings.Contains(err.Error(), "not on a file system of its own") {
			t.Errorf("%s: %v", f.Name, err)
		}
	}
}

func TestAFailedStepMayHaveBeenDone(t *testing.T) {
	inner := &kernel{}
	steps := Before(inner)
	steps.fail(1, 1)
	const tries = 100
	for range tries {
		if err := steps.Destroy(t.Context(), "x"); !errors.Is(err, ErrStep) {
			t.Fatalf("error %v", err)
		}
	}
	if inner.destroyed == 0 || inner.destroyed == tries {
		t.Errorf("%d of %d were done", inner.destroyed, tries)
	}
	// Of a failed create nothing may be left, so it never was begun.
	if _, err := steps.Create(t.Context(), isolation.Spec{}, nil); !errors.Is(err, ErrStep) {
		t.Errorf("error %v", err)
	}
	steps.fail(0, 0)
	if _, err := steps.Create(t.Context(), isolation.Spec{}, nil); err == nil || err.Error() != "created" {
		t.Errorf("error %v", err)
	}
}

func TestASlowStepEndsWithItsContext(t *testing.T) {
	steps := Before(&kernel{})
	steps.slow(time.Hour)
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("no more")
	cancel(reason)
	if err := steps.Destroy(ctx, "x"); !errors.Is(err, reason) {
		t.Errorf("error %v", err)
	}
}

// An actor's budget is for rare failures.
func TestEachKindOfActorPanicsTwiceAtMost(t *testing.T) {
	p := new(Panics)
	strike := func(turn kit.Turn) (struck bool) {
		defer func() { struck = recover() != nil }()
		p.Hook(turn)
		return false
	}
	count := func() map[string]int {
		counts := map[string]int{}
		for i := range 300 {
			turn := kit.Turn{Kind: fmt.Sprint("kind", i%3), Path: "node/x", Message: "m"}
			if strike(turn) {
				counts[turn.Kind]++
			}
		}
		return counts
	}
	if got := count(); len(got) != 0 {
		t.Errorf("without an order: %v", got)
	}
	p.begin(0.5, 1)
	if got := count(); fmt.Sprint(got) != "map[kind0:2 kind1:2 kind2:2]" {
		t.Errorf("struck %v", got)
	}
	p.begin(1, 1)
	if strike(kit.Turn{Kind: "other", Message: "Down"}) {
		t.Error("what goes down was struck")
	}
	p.end()
	if got := count(); len(got) != 0 {
		t.Errorf("healed: %v", got)
	}
}

func TestASlowDiskIsKeptBusyUntilItIsHealed(t *testing.T) {
	_, n := newService(t)
	if err := realDisk(n); err != nil {
		if !strings.Contains(err.Error(), "is in memory") {
			t.Fatal(err)
		}
		n.State = "." // the temporary folder is no disk here; the package's own is
		t.Cleanup(func() { os.RemoveAll(ballast) })
	}
	done, err := diskSlow.Inject(t.Context(), n, Order{})
	if err != nil {
		t.Fatal(err)
	}
	written := func() (bytes int64) {
		files, _ := filepath.Glob(filepath.Join(n.State, ballast, "*", "busy"))
		for _, file := range files {
			if info, err := os.Stat(file); err == nil {
				bytes += info.Size()
			}
		}
		return bytes
	}
	for deadline := time.Now().Add(awhile); written() < 2<<20; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes were written", written())
		}
	}
	for range 2 { // healing may be repeated
		if err := done.Heal(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if left := written(); left != 0 {
		t.Errorf("%d bytes are left", left)
	}
}

// Nobody may be there any more who could ask for it.
func TestWhatCouldNotBeHealedIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewService("n", &Node{ID: "n", State: t.TempDir(), Log: hclog.NewNullLogger()})
		tries := 0
		s.healLater("one", active{fault: "disk-full", heal: func(context.Context) error {
			if tries++; tries < 3 {
				return errors.New("busy")
			}
			return nil
		}}, time.Minute)
		time.Sleep(time.Minute + 3*healAgain)
		if synctest.Wait(); tries != 3 || !idle(s) {
			t.Errorf("%d tries, idle: %v", tries, idle(s))
		}
	})
}

func TestTheEndOfAnAgentEndsWhatIsBeingInjected(t *testing.T) {
	s, n := newService(t)
	n.Kernel = &stuck{asked: make(chan struct{})}
	refused := make(chan string)
	go func() {
		_, code := ask[Injected](t, s, VerbInject, Order{ID: "one", Fault: "init-killed"})
		refused <- code
	}()
	<-n.Kernel.(*stuck).asked
	if audit, code := ask[Healed](t, s, VerbHeal, Healing{}); code != "" || len(audit.IDs) != 0 {
		t.Errorf("what is being injected keeps others from being healed: %q", code)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if code := <-refused; code != CodeFailed {
		t.Errorf("what was being injected: %q", code)
	}
	if _, code := ask[Injected](t, s, VerbInject, Order{ID: "two", Fault: "steps-slow"}); code != CodeUnavailable {
		t.Errorf("after the end: %q", code)
	}
}

// stuck is a kernel that answers when it is not waited for any more.
type stuck struct {
	kernel
	asked chan struct{}
}

func (k *stuck) Containers(ctx context.Context) ([]isolation.Spec, error) {
	close(k.asked)
	<-ctx.Done()
	return nil, context.Cause(ctx)
}
