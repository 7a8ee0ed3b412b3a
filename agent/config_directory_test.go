package agent

import (
	"bytes"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTheShownDirectoryBlockIsItsDefault(t *testing.T) {
	_, shown, found := bytes.Cut(shipped(t), []byte("\n# directory {\n"))
	block, _, ended := bytes.Cut(shown, []byte("\n# }\n"))
	if !found || !ended {
		t.Fatal("config.hcl shows no directory block")
	}
	src := "directory {\n" + string(regexp.MustCompile(`(?m)^# ?`).ReplaceAll(block, nil)) + "\n}\n"
	want := DefaultDirectory()
	want.Domain, want.Listen = "apps.example.com", netip.MustParseAddr("192.0.2.7")
	if diff := cmp.Diff(&want, mustParse(t, src).Directory, byAddress); diff != "" {
		t.Error("the block that is shown differs from DefaultDirectory (-want +got):\n", diff)
	}
	want.Listen = netip.Addr{}
	if diff := cmp.Diff(&want, mustParse(t, `directory { domain = "apps.example.com" }`).Directory, byAddress); diff != "" {
		t.Error("a block with a domain alone (-want +got):\n", diff)
	}
}

func TestADirectorysSettingsAreRead(t *testing.T) {
	got := mustParse(t, `directory {
		domain = "d.example"
		listen = "0.0.0.0"
		port = 80
		protocol = "https"
		streaming_timeout = "5s"
		url_lifetime = "10m"
		crash_logs_max = "1MiB"
		crash_disk_used_max = 0.5
		crash_inodes_used_max = 1
	}`).Directory
	want := &Directory{
		Domain: "d.example", Listen: netip.MustParseAddr("0.0.0.0"), Port: 80, Protocol: "https",
		StreamingTimeout: 5 * time.Second, URLLifetime: 10 * time.Minute, CrashLogsMax: 1 << 20,
		CrashDiskUsedMax: 0.5, CrashInodesUsedMax: 1,
	}
	if diff := cmp.Diff(want, got, byAddress); diff != "" {
		t.Error("-want +got:\n", diff)
	}
}

func TestWhatIsWrongWithADirectoryIsShown(t *testing.T) {
	for settings, want := range map[string]string{
		``:                         `The directory block needs a "domain"`,
		`domain = ""`:              "Not a domain",
		`domain = "UPPER.example"`: "Not a domain",
		`domain = "a..b"`:          "Not a domain",
		`domain = "-a.example"`:    "Not a domain",
		`domain = "*.example"`:     "Not a domain",
		`domain = "` + strings.Repeat("abcdefgh.", 25) + `example"`: "Not a domain",
		"domain = \"d\"\nport = 0":                                  `"port" must be a whole number from 1 to 65535`,
		"domain = \"d\"\nport = 20000":                              "20000 is one of network.port_first to network.port_last",
		"domain = \"d\"\nlisten = \"somewhere\"":                    `"listen"`,
		"domain = \"d\"\nprotocol = \"gopher\"":                     `"protocol" must be "http" or "https"`,
		"domain = \"d\"\nstreaming_timeout = \"0s\"":                `"streaming_timeout" must be from 1s`,
		"domain = \"d\"\nurl_lifetime = \"25h\"":                    `"url_lifetime" must be from 1m0s to 24h0m0s`,
		"domain = \"d\"\ncrash_logs_max = \"1KiB\"":                 `"crash_logs_max"`,
		"domain = \"d\"\ncrash_disk_used_max = 80":                  `"crash_disk_used_max" must be a number from 0.01 to 1`,
		"domain = \"d\"\ncrash_inodes_used_max = -0.1":              `"crash_inodes_used_max" must be a number from 0.01 to 1`,
		"domain = \"d\"\ndomian = \"e\"":                            "domian",
	} {
		_, err := ParseConfig("config.hcl", []byte("directory {\n"+settings+"\n}\n"))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "config.hcl") {
			t.Errorf("%q: %v\nwant %q", settings, err, want)
		}
	}
}
