package kit

import "reflect"

// letter is how a message of M travels: nothing that the library would read
// as one of its own can be inside, and nothing of another set.
type letter[M any] struct {
	message M
	// make, unless nil, makes the message on the mailbox right before it is
	// handled; false withdraws it.
	make func() (M, bool)
	to   uint32 // the incarnation that it is for; 0: whichever lives
}

func (l *letter[M]) incarnation() uint32 { return l.to }

// name is for the log of what is lost.
func (l *letter[M]) name() string {
	if l.make != nil {
		return "then"
	}
	return messageName(l.message)
}

func (l *letter[M]) open() (M, bool) {
	if l.make == nil {
		return l.message, true
	}
	return l.make()
}

// delivery is a letter whose message set only the addressee knows.
type delivery interface {
	incarnation() uint32
	name() string
}

// behaviour is an Actor whose message set is hidden, so that one cell serves
// all of them.
type behaviour interface {
	up() error
	receive(l delivery) error
	down()
}

type typed[M any] struct {
	actor   Actor[M]
	context Context[M]
}

func (t *typed[M]) up() error { return t.actor.Up(&t.context) }
func (t *typed[M]) down()     { t.actor.Down(&t.context) }

func (t *typed[M]) receive(l delivery) error {
	t.context.in.message = lifecycle("then") // should making it fail
	m, ok := l.(*letter[M]).open()
	if !ok {
		return nil
	}
	t.context.in.see(m)
	return t.actor.Receive(&t.context, m)
}

// lifecycle names the turns that are no messages.
type lifecycle string

// messageName is a message's Go type, without package. A message that only
// brings another, "told" a fact of a closed set, is named with it: told(healthy).
func messageName(m any) string {
	switch m := m.(type) {
	case nil:
		return "nil"
	case lifecycle:
		return string(m)
	}
	v := reflect.Indirect(reflect.ValueOf(m))
	name := typeName(v.Type())
	if v.Kind() == reflect.Struct && v.NumField() == 1 {
		if inner := v.Field(0); inner.Kind() == reflect.Interface && !inner.IsNil() && inner.Type() != errorType {
			return name + "(" + typeName(inner.Elem().Type()) + ")"
		}
	}
	return name
}

var errorType = reflect.TypeFor[error]()

func typeName(t reflect.Type) string {
	if t.Name() == "" {
		return t.String()
	}
	return t.Name()
}
