package agent

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/messaging"
)

// What applications of the first era find beside or instead of the rest
// (wire/dea.md d.2). Its names VMC_* were old by then.

const legacyWarning = "All VMC_* environment variables are deprecated, please use VCAP_* versions."

// firstSettings come after the system's own, and before the runtime's.
func firstSettings(p actors.Placement, start messaging.StartInstance, application string) ([]setting, error) {
	if start.First == nil {
		return nil, nil
	}
	list := append(letInSettings("VCAP_DEBUG", p.DebugPort), letInSettings("VCAP_CONSOLE", p.ConsolePort)...)
	if start.Runtime() == "" {
		return list, nil
	}
	services, err := legacyServices(start.Services)
	if err != nil {
		return nil, err
	}
	list = append(list,
		setting{"HOME", home, `"$PWD"`},
		foreign("VMC_WARNING_WARNING", legacyWarning),
		foreign("VMC_SERVICES", services),
		foreign("VMC_APP_INSTANCE", application),
		foreign("VMC_APP_NAME", start.Name),
		foreign("VMC_APP_ID", p.Instance),
		foreign("VMC_APP_VERSION", start.Version),
		own("VMC_APP_HOST", listenHost))
	if p.Port != 0 {
		list = append(list, own("VMC_APP_PORT", strconv.Itoa(int(p.Port))))
	}
	return append(list, vendorSettings(start.Services)...), nil
}

// letInSettings are there without a port too, and empty then.
func letInSettings(prefix string, port uint16) []setting {
	if port == 0 {
		return []setting{own(prefix+"_IP", ""), own(prefix+"_PORT", "")}
	}
	return []setting{own(prefix+"_IP", listenHost), own(prefix+"_PORT", strconv.Itoa(int(port)))}
}

// legacyService is one entry of VMC_SERVICES.
type legacyService struct {
	Name    string          `json:"name"`
	Type    string          `json:"type,omitempty"`
	Vendor  string          `json:"vendor,omitempty"`
	Version string          `json:"version,omitempty"`
	Tier    string          `json:"tier"`
	Options json.RawMessage `json:"options"`
}

func legacyServices(services []messaging.Service) (string, error) {
	list := []legacyService{}
	for _, s := range services {
		list = append(list, legacyService{s.Name, s.Type, s.Vendor, s.Version, s.Plan, s.Credentials})
	}
	text, err := compactJSON(list)
	if err != nil {
		return "", errCredentials
	}
	return text, nil
}

// vendorSettings are where the services are reached: VMC_MYSQL=host:port. Of two
// of one vendor the last counts.
func vendorSettings(services []messaging.Service) (list []setting) {
	for _, s := range services {
		var credentials struct {
			Hostname, Host string
			Port           json.Number
		}
		if json.Unmarshal(s.Credentials, &credentials) != nil {
			continue // credentials may have any shape
		}
		host := credentials.Hostname
		if host == "" {
			host = credentials.Host
		}
		name := "VMC_" + strings.ToUpper(s.Vendor)
		if host == "" || credentials.Port == "" || s.Vendor == "" || !shellName.MatchString(name) {
			continue
		}
		list = append(list, foreign(name, host+":"+credentials.Port.String()))
	}
	return list
}

// firstApplication is what VCAP_APPLICATION had in the first era, and no other.
func firstApplication(start messaging.StartInstance, merged map[string]any) {
	if start.Runtime() == "" {
		return
	}
	merged["runtime"] = start.First.Runtime
	merged["users"] = orEmpty(start.First.Users)
	merged["limits"] = map[string]any{
		"fds": start.Limits.Files, "mem": start.Limits.MemoryMiB << 20, "disk": start.Limits.DiskMiB << 20,
	}
}

// runtimeOf is the runtime that a start names; nil: it names none.
func (p *Planner) runtimeOf(start messaging.StartInstance) (*Runtime, error) {
	name := start.Runtime()
	if name == "" {
		return nil, nil
	}
	for i := range p.config.Runtimes {
		if p.config.Runtimes[i].Name == name {
			return &p.config.Runtimes[i], nil
		}
	}
	return nil, fmt.Errorf("there is no runtime %q, there are: %s", name,
		strings.Join(runtimeNames(p.config.Runtimes), ", "))
}

// variables are what the runtime adds before the user's own.
func (r *Runtime) variables(start messaging.StartInstance) []messaging.Variable {
	if r == nil {
		return start.Environment
	}
	list := append([]messaging.Variable(nil), r.Debug[start.First.Debug]...)
	list = append(list, r.Environment...)
	return append(list, start.Environment...)
}

// find leaves the runtime's absolute path in the script's own variable, or says
// that there is none.
func (r *Runtime) find() string {
	return fmt.Sprintf(`%[1]s=$(type -P %[2]s)
case $%[1]s in
  "") echo %[3]s >&2; exit 1;;
  /*) ;;
  *) %[1]s=$PWD/$%[1]s;;
esac
`, scratch, escaped(r.Executable),
		escaped(fmt.Sprintf("deacon: the stack has no %s, the runtime %s", r.Executable, r.Name)))
}

// verify is what the first era asked of a runtime before it used it.
func (r *Runtime) verify() string {
	var s strings.Builder
	s.WriteString(r.find())
	check := func(arguments, pattern, wanted string) {
		fmt.Fprintf(&s, `%[1]s_wanted=%[6]s
%[1]s_said=$("$%[1]s" %[2]s 2>&1 </dev/null)
if ! [[ $%[1]s_said =~ %[3]s ]]; then
  printf 'deacon: the runtime %%s: %%s says %%s, %%s is wanted\n' %[4]s "$%[1]s" "$%[1]s_said" %[5]s >&2
  exit 1
fi
`, scratch, arguments, "$"+scratch+"_wanted", escaped(r.Name), escaped(wanted), escaped(pattern))
	}
	if r.VersionOutput != "" {
		check(r.VersionFlag, r.pattern(), r.VersionOutput)
	}
	if r.AdditionalChecks != "" {
		check(r.AdditionalChecks, "[Tt][Rr][Uu][Ee]", "true")
	}
	fmt.Fprintf(&s, "unset %[1]s %[1]s_said %[1]s_wanted\n", scratch)
	return s.String()
}

// placeholder stands in a droplet's startup for the runtime's path.
const placeholder = "%VCAP_LOCAL_RUNTIME%"

// bind writes the runtime's path into the droplet's startup, where it has a place
// for it. The file is the container's own: its droplet stays as it is.
func (r *Runtime) bind() string {
	return r.find() + fmt.Sprintf(`%[1]s_text=$(<startup)
case $%[1]s_text in *%[2]s*)
  chmod 0600 startup &&
  printf '%%s\n' "${%[1]s_text//%[2]s/"$%[1]s"}" > startup &&
  chmod 0500 startup;;
esac
unset %[1]s %[1]s_text
`, scratch, placeholder)
}

// stopScript is the first era's own way to stop: the droplet's, with the pid of
// what it started.
const stopScript = `if [ -f stop ] && [ -x stop ] && read -r ` + scratch + ` < run.pid; then
  exec ./stop "$` + scratch + `"
fi
`
