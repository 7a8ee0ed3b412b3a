package agent

import (
	"encoding"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"
)

// secretSettings are never told, neither what they are nor where it is kept.
var secretSettings = []string{"Password", "PasswordFile", "Token", "NkeyFile", "CredsFile", "Key"}

// told is the configuration as others may see it: by the names of its settings,
// without secrets.
func (c Config) told() map[string]any {
	servers := make([]string, len(c.NATS.Servers))
	for i, server := range c.NATS.Servers {
		servers[i] = withoutLogin(server)
	}
	c.NATS.Servers = servers
	all, _ := toldValue(reflect.ValueOf(c)).(map[string]any)
	return all
}

func withoutLogin(server string) string {
	u, err := url.Parse(server)
	if err != nil {
		return ""
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host}).String()
}

func toldValue(v reflect.Value) any {
	switch x := v.Interface().(type) {
	case time.Duration:
		return x.String()
	case encoding.TextMarshaler:
		text, _ := x.MarshalText()
		return string(text)
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return toldValue(v.Elem())
	case reflect.Slice:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = toldValue(v.Index(i))
		}
		return list
	case reflect.Struct:
		fields := map[string]any{}
		for i := range v.NumField() {
			if name := v.Type().Field(i).Name; !slices.Contains(secretSettings, name) {
				fields[settingName(name)] = toldValue(v.Field(i))
			}
		}
		return fields
	default:
		return v.Interface()
	}
}

// settingName is a Go name as the file has it: "OnTerm" is on_term, "NATS" is nats.
func settingName(name string) string {
	var out strings.Builder
	letters := []rune(name)
	for i, r := range letters {
		begins := i > 0 && unicode.IsUpper(r) &&
			(unicode.IsLower(letters[i-1]) || i+1 < len(letters) && unicode.IsLower(letters[i+1]))
		if begins {
			out.WriteByte('_')
		}
		out.WriteRune(unicode.ToLower(r))
	}
	return out.String()
}
