package dea

import (
	"net/netip"
	"strings"
	"time"

	"github.com/deacon-agent/deacon/messaging"
)

// One sample of every message, with something in every field.

const (
	nodeID      = "0-5f6d1c7a9b3e42d08c1f2e3d4c5b6a79"
	application = "5d5b1b2e-0f1a-4a0c-9d0e-4c3b2a190817"
	appVersion  = "f2b1e7c4-8f6a-4c2e-9a57-0d1c2b3a4958"
	instance    = "9c1d8e7f6a5b4c3d2e1f0a9b8c7d6e5f"
	inbox       = "_INBOX.a1b2c3.d4"
)

var (
	address = netip.MustParseAddr("192.0.2.7")
	since   = time.Date(2026, 11, 24, 18, 29, 5, 123457000, time.UTC)

	exampleNode = messaging.Node{ID: nodeID, Address: address, Version: "0.0.1"}

	exampleStart = messaging.StartInstance{
		Partition:   "default",
		Application: application,
		Name:        "guestbook",
		Version:     appVersion,
		Index:       2,
		URIs:        []string{"guestbook.example.com", "www.guestbook.example.com"},
		Droplet: messaging.Droplet{
			URI:  "http://blob:s3cret@blobs.example.com/cc-droplets/5d/5b/5d5b1b2e",
			SHA1: "a94a8fe5ccb19ba61c4c0873d391e987982fbbd3",
		},
		Limits: messaging.ApplicationLimits{MemoryMiB: 256, DiskMiB: 1024, Files: 16384},
		Services: []messaging.Service{
			{
				Name: "guestbook-db", Label: "postgresql-9.3", Plan: "small",
				Tags: []string{"relational", "postgresql"},
				Credentials: []byte(`{"uri":"postgres://u:p@10.0.16.4:5432/guestbook?ssl=on&x=<1>",` +
					`"hosts":["10.0.16.4","10.0.16.5"],"port":5432}`),
			},
			{
				Name: "drain", Label: "user-provided",
				SyslogDrainURL: "syslog://logs.example.com:514", Credentials: []byte(`{}`),
			},
		},
		Environment: []messaging.Variable{
			{Name: "GREETING", Value: `Hello, "world" = all`},
			{Name: "EMPTY"},
			{Name: "PATH_LIKE", Value: "/a:/b"},
		},
		Stack:              "cflinuxfs2",
		StartCommand:       "bundle exec rackup -p $PORT",
		HealthCheckTimeout: 90 * time.Second,
		VCAPApplication: []byte(`{"name":"guestbook","application_name":"guestbook",` +
			`"uris":["guestbook.example.com"],"limits":{"mem":256,"disk":1024,"fds":16384},` +
			`"space_name":"dev","users":null}`),
		Egress: []messaging.EgressRule{
			{Protocol: "tcp", Destination: "10.0.0.0/8", Ports: "80,443,8000-9000", Type: -1, Code: -1, Log: true},
			{Protocol: "icmp", Destination: "0.0.0.0/0", Type: 8},
			{Protocol: "all", Destination: "192.0.2.1-192.0.2.9", Type: -1, Code: -1},
		},
	}

	exampleFilter = messaging.Filter{
		Application: application,
		Version:     appVersion,
		Instances:   []string{instance, "0011"},
		Indices:     []int{0, 2},
		States:      []string{"STARTING", "RUNNING"},
	}

	exampleComponent = messaging.Component{
		Type: "DEA", Index: 3, UUID: nodeID, Address: netip.AddrPortFrom(address, 34501),
		User: "monitor", Password: "s3cret", Started: since.Truncate(time.Second),
	}

	exampleBeat = messaging.Beat{NodeID: nodeID, Instances: []messaging.BeatInstance{
		{
			Partition: "default", Application: application, Version: appVersion, Instance: instance,
			Index: 2, State: messaging.Running, Since: since,
		},
		{
			Partition: "default", Application: application, Version: appVersion,
			Instance: "0a1b2c3d4e5f60718293a4b5c6d7e8f9", Index: 0, State: messaging.Crashed,
			Since: since.Truncate(time.Second),
		},
	}}

	exampleRoute = messaging.Route{
		NodeID:          nodeID,
		Application:     application,
		URIs:            []string{"guestbook.example.com", "www.guestbook.example.com"},
		Host:            address,
		Port:            20017,
		ComponentTag:    "dea-0",
		PrivateInstance: strings.Repeat("0123456789abcdef", 4),
	}

	exampleRow = messaging.InstanceRow{
		Application: application, Name: "guestbook", Version: appVersion, Instance: instance,
		Container: "04k9r8m2q1d", Index: 2, State: messaging.Running, Since: since,
		URIs: []string{"guestbook.example.com"}, Host: address, Port: 20017,
	}

	exampleDirectory = messaging.Route{
		URIs: []string{"0123456789abcdef0123456789abcdef.example.com"}, Host: address, Port: 5678,
		ComponentTag: "directory-server-0",
	}

	exampleLine = messaging.LogLine{
		Application: application, Instance: instance, Index: 2, Stream: "stdout",
		At: since, Text: []byte("GET / 200 <b>&amp;</b> \x1b[0m"),
	}
)

// sampleCommand is a command and the file that has its message.
type sampleCommand struct {
	file    string
	command messaging.Command
}

var sampleCommands = []sampleCommand{
	{"command_start.json", exampleStart},
	{"command_start_least.json", messaging.StartInstance{
		Partition: "default", Application: "42", Name: "worker", Version: "1",
		Droplet: messaging.Droplet{SHA256: strings.Repeat("0f", 32)},
		Limits:  messaging.ApplicationLimits{MemoryMiB: 1, DiskMiB: 1, Files: 1},
	}},
	{"command_start_first.json", messaging.StartInstance{
		Application: "42", Name: "shop", Version: "5d5b1b2e-1", URIs: []string{"shop.example.com"},
		Droplet: messaging.Droplet{SHA1: exampleStart.Droplet.SHA1},
		Limits:  messaging.ApplicationLimits{MemoryMiB: 512, DiskMiB: 256, Files: 1024},
		First: &messaging.FirstEra{
			Runtime: "ruby19", Framework: "rails3", Users: []string{"derek@example.com"}, Debug: "suspend", Console: true,
		},
	}},
	{"command_stop.json", messaging.StopInstances{Filter: exampleFilter}},
	{"command_stop_all.json", messaging.StopInstances{Filter: messaging.Filter{Application: application}}},
	{"command_update.json", messaging.UpdateInstances{
		Application: application, Version: appVersion, URIs: exampleStart.URIs, Egress: &exampleStart.Egress,
	}},
	{"command_update_least.json", messaging.UpdateInstances{Application: application}},
	{"command_find.json", messaging.FindInstances{Filter: exampleFilter, IncludeStats: true, IncludePath: true, Path: "/"}},
	{"command_locate.json", messaging.LocateNodes{}},
	{"command_discover.json", messaging.DiscoverNodes{Application: application, MemoryMiB: 256, DiskMiB: 1024}},
	{"command_discover_first.json", messaging.DiscoverNodes{
		Application: application, MemoryMiB: 256, DiskMiB: 1024, Runtime: "ruby19",
	}},
	{"command_status.json", messaging.DescribeNodes{}},
	{"command_droplet_status.json", messaging.DescribeInstances{}},
	{"command_router_start_interval.json", messaging.RouterStarted{Interval: 20 * time.Second}},
	{"command_router_start.json", messaging.RouterStarted{}},
	{"command_healthmanager_start.json", messaging.HealthManagerStarted{}},
	{"command_evacuate.json", messaging.EvacuateNode{Within: 90 * time.Second}},
	{"command_evacuate_least.json", messaging.EvacuateNode{}},
	{"command_components.json", messaging.DiscoverComponents{}},
	{"command_ps.json", messaging.ListInstances{}},
	{"command_actors.json", messaging.ListActors{}},
	{"command_usage.json", messaging.DescribeUsage{}},
	{"command_logs_tail.json", messaging.TailLogs{Application: application, Index: -1, Lines: 20}},
}

// sampleEvent is an event and the file that has its message; question is the
// subject that it answers.
type sampleEvent struct {
	file     string
	subject  string
	question string
	event    messaging.Event
}

var sampleEvents = []sampleEvent{
	{"start_hello.json", "dea.start", "", messaging.NodeStarted{Node: exampleNode}},
	{"greet.json", "router.greet", "", messaging.RoutersGreeted{}},
	{"shutdown.json", "dea.shutdown", "",
		messaging.NodeStopped{Node: exampleNode, ApplicationCount: map[string]int{application: 2}}},
	{"shutdown_idle.json", "dea.shutdown", "", messaging.NodeStopped{Node: exampleNode}},
	{"advertise.json", "dea.advertise", "", messaging.Advertised{
		NodeID: nodeID, Stacks: []string{"host", "cflinuxfs2"}, MemoryMiB: 7936, DiskMiB: 31744,
		ApplicationCount: map[string]int{application: 2}, Zone: "default",
	}},
	{"advertise_idle.json", "dea.advertise", "", messaging.Advertised{NodeID: nodeID, Zone: "z1"}},
	{"advertise_first.json", "dea.advertise", "", messaging.Advertised{
		NodeID: nodeID, MemoryMiB: 1, Zone: "z1", Runtimes: []string{"java", "ruby19"},
	}},
	{"discovered.json", inbox, "dea.discover", messaging.NodeDiscovered{ReplyTo: inbox, Node: exampleNode}},
	{"status.json", inbox, "dea.status", messaging.NodeDescribed{
		ReplyTo: inbox, Node: exampleNode, Capacity: 8192, Promised: 512, Used: 97,
	}},
	{"announce.json", "vcap.component.announce", "", messaging.ComponentAnnounced{Component: exampleComponent}},
	{"component.json", inbox, "vcap.component.discover", messaging.ComponentDiscovered{
		ReplyTo: inbox, Component: exampleComponent, Uptime: 26*time.Hour + 3*time.Minute + 4*time.Second,
	}},
	{"actors.json", inbox, "deacon.v1.actors", messaging.ActorsListed{
		ReplyTo: inbox, NodeID: nodeID, Actors: []messaging.ActorRow{
			{Path: "node", Kind: "node", Incarnation: 1},
			{Path: "node/ledger", Kind: "ledger", Incarnation: 3, Mailbox: 17, Failed: true},
		},
	}},
	{"heartbeat.json", "dea.heartbeat", "", exampleBeat},
	{"heartbeat_idle.json", "dea.heartbeat", "", messaging.Beat{NodeID: nodeID}},
	{"exited.json", "droplet.exited", "", messaging.InstanceExited{
		Partition: "default", Application: application, Version: appVersion, Instance: instance, Index: 2,
		Reason: "CRASHED", ExitStatus: 255, Description: "out of memory", CrashedAt: since.Truncate(time.Second),
	}},
	{"exited_evacuation.json", "droplet.exited", "", messaging.InstanceExited{
		Partition: "default", Application: application, Version: appVersion, Instance: instance, Index: 2,
		Reason: "DEA_EVACUATION", ExitStatus: -1,
	}},
	{"register.json", "router.register", "", messaging.RouteRegistered{Route: exampleRoute}},
	{"unregister.json", "router.unregister", "", messaging.RouteUnregistered{Route: exampleRoute}},
	{"register_no_uris.json", "router.register", "", messaging.RouteRegistered{Route: messaging.Route{
		NodeID: nodeID, Application: application, Host: address, Port: 20018, ComponentTag: "dea-0",
		PrivateInstance: exampleRoute.PrivateInstance,
	}}},
	{"register_directory.json", "router.register", "", messaging.RouteRegistered{Route: exampleDirectory}},
	{"unregister_directory.json", "router.unregister", "", messaging.RouteUnregistered{Route: exampleDirectory}},
	{"found.json", inbox, "dea.find.droplet", messaging.InstanceFound{
		ReplyTo: inbox, NodeID: nodeID, Application: application, Version: appVersion, Instance: instance,
		Index: 2, State: messaging.Crashed, Since: since,
	}},
	{"found_first.json", inbox, "dea.find.droplet", messaging.InstanceFound{
		ReplyTo: inbox, NodeID: nodeID, Application: application, Version: appVersion, Instance: instance,
		Index: 2, State: messaging.Running, Since: since,
		DebugAt: netip.AddrPortFrom(address, 20018), ConsoleAt: netip.AddrPortFrom(address, 20019),
	}},
	{"found_stats.json", inbox, "dea.find.droplet", messaging.InstanceFound{
		ReplyTo: inbox, NodeID: nodeID, Application: application, Version: appVersion, Instance: instance,
		Index: 2, State: messaging.Running, Since: since,
		FileURI: "http://files.example.com/instance_paths/" + instance,
		Stats: &messaging.InstanceStats{
			Name: "guestbook", URIs: []string{"guestbook.example.com"}, Host: address, Port: 20017,
			Uptime: 93 * time.Second, MemQuota: 256 << 20, DiskQuota: 1 << 30, FilesQuota: 16384,
			MeasuredAt: since.Truncate(time.Second), CPU: 0.125, MemBytes: 29880320, DiskBytes: 66392064,
		},
	}},
	{"evacuating.json", inbox, "deacon.v1." + nodeID + ".evacuate", messaging.NodeEvacuating{
		ReplyTo: inbox, NodeID: nodeID, Instances: 12, By: since,
	}},
	{"droplet_status.json", inbox, "droplet.status", messaging.InstanceDescribed{
		ReplyTo: inbox, Stats: messaging.InstanceStats{
			Name: "guestbook", URIs: []string{"guestbook.example.com"}, Host: address, Port: 20017,
			Uptime: 93 * time.Second, MemQuota: 256 << 20, DiskQuota: 1 << 30, FilesQuota: 16384,
			MeasuredAt: since.Truncate(time.Second), CPU: 0.125, MemBytes: 29880320, DiskBytes: 66392064,
		},
	}},
	{"usage.json", inbox, "deacon.v1.usage", messaging.UsageDescribed{
		ReplyTo: inbox, Node: messaging.Node{ID: nodeID, Address: address, Version: "0.1.0"}, Zone: "z1", Evacuating: true,
		Since: since, At: since.Add(time.Hour),
		Memory: messaging.Account{Capacity: 8192, Promised: 512}, Disk: messaging.Account{Capacity: 65536, Promised: 1024},
		Instances: []messaging.UsageRow{
			{
				Application: application, Name: "guestbook", Instance: instance, Index: 2, State: messaging.Running, Since: since,
				CPU: 1500 * time.Millisecond, MemoryBytes: 29880320, MemoryLimit: 256 << 20, DiskBytes: 66392064, DiskLimit: 1 << 30,
				Processes: 7, Measured: true,
			},
			{Application: application, Instance: "i2", State: messaging.Crashed, Since: since},
		},
	}},
	{"ps.json", inbox, "deacon.v1.ps", messaging.InstancesListed{
		ReplyTo: inbox, NodeID: nodeID, Files: netip.AddrPortFrom(address, 5678), Instances: []messaging.InstanceRow{exampleRow},
	}},
	{"logs_tail.json", inbox, "deacon.v1.logs-tail", messaging.LogsTailed{
		ReplyTo: inbox, Lines: []messaging.LogLine{exampleLine},
	}},
	{"log.json", "deacon.v1.logs." + application + ".2", "", exampleLine},
	{"log_bytes.json", "deacon.v1.logs." + application + ".0", "", messaging.LogLine{
		Application: application, Instance: instance, Stream: "stderr",
		At: since, Text: []byte("caf\xe9\x00"), Dropped: 4096,
	}},
	{"instance.json", "deacon.v1.instance", "", messaging.InstanceChanged{
		NodeID: nodeID, Application: application, Instance: instance, Index: 2, From: messaging.Running,
		To: messaging.Crashed, ExitStatus: 255, Signal: "SIGSEGV", Description: "app instance exited", At: since,
	}},
	{"asked.json", "deacon.v1.asked", "", messaging.Asked{
		NodeID: nodeID, Asker: messaging.Asker{Subject: "dea.stop", Reply: inbox, Account: "ann@apps", By: "ann@desk"},
		Application: application, Index: -1, Instances: 3, At: since,
	}},
	{"updated.json", "deacon.v1.updated", "", messaging.InstanceUpdated{
		NodeID: nodeID, Application: application, Was: instance, Instance: "0a1b2c3d4e5f60718293a4b5c6d7e8f9", Index: 2,
		Version: appVersion, URIs: []string{"guestbook.example.com"}, At: since,
	}},
	{"actor.json", "deacon.v1.actor", "", messaging.ActorGaveUp{
		NodeID: nodeID, Actor: "containers/container/04k9r8m2q1d", Reason: "5 faults in 1m0s", At: since,
	}},
}
