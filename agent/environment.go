package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/messaging"
)

// listenHost is where an application is told to listen.
const listenHost = "0.0.0.0"

// startedForm is how the DEA's Ruby wrote a time.
const startedForm = "2006-01-02 15:04:05 -0700"

// setting is a variable, its value, and what a script writes for the value.
type setting struct{ name, value, text string }

// foreign is a setting whose value comes from elsewhere and may hold anything.
func foreign(name, value string) setting { return setting{name, value, escaped(value)} }

// own is a setting whose value means nothing to a shell.
func own(name, value string) setting { return setting{name, value, `"` + value + `"`} }

// systemEnvironment is what the node itself tells an application, in the
// wire's order (wire/dea.md d.1).
func systemEnvironment(p actors.Placement, start messaging.StartInstance, address netip.Addr) ([]setting, error) {
	application, err := vcapApplication(p, start)
	if err != nil {
		return nil, err
	}
	services, err := vcapServices(start.Services)
	if err != nil {
		return nil, err
	}
	list := []setting{
		foreign("VCAP_APPLICATION", application),
		foreign("VCAP_SERVICES", services),
		own("MEMORY_LIMIT", fmt.Sprintf("%dm", start.Limits.MemoryMiB)),
	}
	if len(start.Services) > 0 {
		list = append(list, foreign("DATABASE_URL", databaseURL(start.Services)))
	}
	list = append(list,
		setting{"HOME", appFolder, `"$PWD/app"`},
		setting{"TMPDIR", home + "/tmp", `"$PWD/tmp"`},
		own("VCAP_APP_HOST", listenHost))
	list = append(list, placeSettings(p, start.Index, address)...)
	first, err := firstSettings(p, start, application)
	if err != nil {
		return nil, err
	}
	return append(list, first...), nil
}

// placeSettings say where the instance is reached. Without a port there is
// nothing to say of it.
func placeSettings(p actors.Placement, index int, address netip.Addr) []setting {
	port := strconv.Itoa(int(p.Port))
	number, host := own("CF_INSTANCE_INDEX", strconv.Itoa(index)), own("CF_INSTANCE_IP", address.String())
	if p.Port == 0 {
		return []setting{number, host, foreign("CF_INSTANCE_PORTS", "[]")}
	}
	return []setting{
		own("VCAP_APP_PORT", port),
		own("PORT", port),
		number, host,
		own("CF_INSTANCE_PORT", port),
		own("CF_INSTANCE_ADDR", netip.AddrPortFrom(address, p.Port).String()),
		foreign("CF_INSTANCE_PORTS", `[{"external":`+port+`,"internal":`+port+`}]`),
	}
}

// vcapApplication is what the message says of the application, under what the
// node knows better.
func vcapApplication(p actors.Placement, start messaging.StartInstance) (string, error) {
	merged := map[string]any{
		"application_name": start.Name, "name": start.Name,
		"application_version": start.Version, "version": start.Version,
		"application_uris": orEmpty(start.URIs), "uris": orEmpty(start.URIs),
		"limits": map[string]any{
			"mem": start.Limits.MemoryMiB, "disk": start.Limits.DiskMiB, "fds": start.Limits.Files,
		},
	}
	if len(start.VCAPApplication) > 0 {
		var given map[string]json.RawMessage // numbers keep every digit
		if err := json.Unmarshal(start.VCAPApplication, &given); err != nil {
			return "", fmt.Errorf("vcap_application is not a JSON object: %w", err)
		}
		for key, value := range given {
			merged[key] = value
		}
	}
	started := p.Started.UTC().Truncate(time.Second)
	maps.Copy(merged, map[string]any{
		"application_id": start.Application, "instance_id": p.Instance, "instance_index": start.Index,
		"host":       listenHost,
		"started_at": started.Format(startedForm), "started_at_timestamp": started.Unix(),
		"start": started.Format(startedForm), "state_timestamp": started.Unix(),
	})
	if p.Port != 0 {
		merged["port"] = p.Port
	}
	firstApplication(start, merged)
	return compactJSON(merged)
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// boundService is one entry of VCAP_SERVICES; what is null is left out.
type boundService struct {
	Name           string          `json:"name"`
	Label          string          `json:"label"`
	Tags           []string        `json:"tags,omitempty"`
	Plan           string          `json:"plan,omitempty"`
	PlanOption     string          `json:"plan_option,omitempty"`
	Credentials    json.RawMessage `json:"credentials,omitempty"`
	SyslogDrainURL string          `json:"syslog_drain_url,omitempty"`
}

// errCredentials is without its cause, which would quote them.
var errCredentials = errors.New("the credentials of a service are not JSON")

func vcapServices(services []messaging.Service) (string, error) {
	byLabel := map[string][]boundService{}
	for _, s := range services {
		credentials := json.RawMessage(s.Credentials)
		if string(credentials) == "null" {
			credentials = nil
		}
		byLabel[s.Label] = append(byLabel[s.Label], boundService{
			Name: s.Name, Label: s.Label, Tags: s.Tags, Plan: s.Plan, PlanOption: s.PlanOption,
			Credentials: credentials, SyslogDrainURL: s.SyslogDrainURL,
		})
	}
	text, err := compactJSON(byLabel)
	if err != nil {
		return "", errCredentials
	}
	return text, nil
}

// databaseAdapters are the schemes of databases, and what Rails calls them.
var databaseAdapters = map[string]string{
	"mysql": "mysql2", "mysql2": "mysql2", "postgres": "postgres", "postgresql": "postgres",
	"db2": "ibmdb", "informix": "ibmdb",
}

// databaseURL is the first bound database's; empty if no service is one.
func databaseURL(services []messaging.Service) string {
	for _, s := range services {
		var credentials struct {
			URI string `json:"uri"`
		}
		if json.Unmarshal(s.Credentials, &credentials) != nil {
			continue // credentials may have any shape
		}
		scheme, rest, found := strings.Cut(credentials.URI, ":")
		if adapter := databaseAdapters[strings.ToLower(scheme)]; found && adapter != "" {
			return adapter + ":" + rest
		}
	}
	return ""
}

func compactJSON(v any) (string, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return "", err
	}
	return strings.TrimSuffix(out.String(), "\n"), nil
}
