package legacy

import (
	"fmt"
	"net"
	"path/filepath"

	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
)

// stateFolder is the node's own, beside what Warden left in its depot.
const stateFolder = "deacon"

// write puts a Warden's configuration into deacon's words. Nothing of it can
// fail: what can't be said was found before.
func (d *document) write(w warden) []byte {
	p := &page{file: hclwrite.NewEmptyFile()}
	comment(p.file.Body(), "Made by deacon warden-config import from "+d.name+". What isn't here is deacon's default; "+
		"config.hcl of its sources explains every setting.")
	p.writeNode(w)
	p.writeNetwork(w)
	if w.quota.given() && !w.quota.value {
		p.block("disk").text("driver", "none", from(w.quota)+": nothing is limited")
	}
	p.writeLog(w)
	p.writeWarden(w)
	d.remarks(w)
	return p.bytes(d.lost)
}

func (p *page) writeNode(w warden) {
	node := p.block("node")
	if w.depot.given() {
		node.text("state", filepath.Join(w.depot.value, stateFolder), from(w.depot)+", and a folder of our own below it")
	}
	if w.ownUIDs() {
		node.number("uid_base", w.uidStart.value, from(w.uidStart))
	}
	node.text("on_term", "detach", "Warden dies of SIGTERM, and its containers live on")
	node.text("on_usr2", "detach", "Warden drains at SIGUSR2, and its containers live on")
}

// ownUIDs says whether the pool begins where containers may have their ids.
func (w warden) ownUIDs() bool {
	return w.uidStart.given() && w.uidStart.value >= uidsPerSlot && w.uidStart.value <= uidMax
}

func (p *page) writeNetwork(w warden) {
	network := p.block("network")
	pool := from(w.poolNetwork)
	if w.poolStart.given() && w.poolSize.given() {
		pool = from(w.poolStart) + "; " + from(w.poolSize)
	}
	network.text("pool", w.pool.String(), pool)
	first, last := from(w.portStart), from(w.portCount)
	if !w.portStart.given() {
		first = fmt.Sprintf("%s isn't set: Warden begins above the ports that the kernel gives to connections, which "+
			"on the machine of the import end at %d", w.portStart.path, w.ephemeralTo)
	}
	if !w.portCount.given() {
		last = w.portCount.path + " isn't set: Warden ends there"
	}
	network.number("port_first", w.portFirst, first)
	network.number("port_last", w.portLast, last)
	if w.mtu.given() {
		network.number("mtu", w.mtu.value, from(w.mtu))
	}
	if w.releaseDelay.given() {
		network.text("release_delay", fmt.Sprint(w.releaseDelay.value)+"s", from(w.releaseDelay))
	}
	if len(w.allowed) > 0 {
		network.texts("allowed", w.allowed, from(w.allowNetworks))
	}
	if w.hostAccess.given() {
		network.set("host_access", cty.BoolVal(w.hostAccess.value), from(w.hostAccess))
	}
	if len(w.dnsServers.value) > 0 {
		network.texts("dns", w.dnsServers.value, from(w.dnsServers))
	}
}

func (p *page) writeLog(w warden) {
	level := or(w.logLevel, levelDefault)
	log := p.block("log")
	log.text("level", levels[level], fmt.Sprintf("%s, %q", from(w.logLevel), level))
	if w.logFile.given() {
		log.text("file", w.logFile.value, from(w.logFile))
	}
	if w.logSyslog.given() {
		log.text("syslog", w.logSyslog.value, from(w.logSyslog))
	}
}

func (p *page) writeWarden(w warden) {
	door := p.block("warden")
	door.text("socket", or(w.socket, socketDefault), from(w.socket))
	door.text("mode", fmt.Sprintf("%04o", or(w.mode, modeDefault)), from(w.mode))
	if w.rootfs.given() {
		door.text("rootfs", w.rootfs.value, from(w.rootfs))
	}
	grace, origin := fmt.Sprint(or(w.grace, graceDefault))+"s", from(w.grace)
	if w.graceNever > 0 {
		grace, origin = "never", fmt.Sprintf("server.%s, line %d", graceKey, w.graceNever)
	}
	door.text("grace_time", grace, origin)
	door.text("job_output_limit", sizeText(or(w.outputLimit, outputLimitDefault)), from(w.outputLimit))
	door.set("disk_quota", cty.BoolVal(or(w.quota, true)), from(w.quota))
	if w.pidFile.given() {
		door.text("pid_file", w.pidFile.value, from(w.pidFile))
	}
	port := or(w.healthPort, healthPortDefault)
	door.text("health_check", net.JoinHostPort("127.0.0.1", fmt.Sprint(port)), from(w.healthPort))
	if w.syslogSocket.given() {
		door.text("syslog_socket", w.syslogSocket.value, from(w.syslogSocket))
	}
	if len(w.rlimits) == 0 {
		return
	}
	door.body.AppendNewline()
	rlimits := block{door.body.AppendNewBlock("rlimits", nil).Body()}
	for _, limit := range w.rlimits {
		rlimits.set(limit.name(), rlimitValue(limit.value), from(limit))
	}
}

// remarks say what is different, or can't be said.
func (d *document) remarks(w warden) {
	switch {
	case w.nested.value:
		d.lose(w.nested.line, "%s: containers inside of containers are not built; a container may use the few devices "+
			"that every one has", w.nested.path)
	case w.nested.given():
		d.remark(w.nested.line, "%s: it is never allowed", w.nested.path)
	}
	switch {
	case w.class.value == linuxClass:
		d.remark(w.class.line, "%s: every container is one of Linux", w.class.path)
	case w.class.given():
		d.lose(w.class.line, "%s: containers without isolation are not built; every container is isolated", w.class.path)
	default:
		d.lose(0, "%s isn't set: Warden's containers are without isolation then, and here every one is isolated",
			w.class.path)
	}
	if !w.rootfs.given() {
		d.lose(0, "%s isn't set: Warden looks below its own folder then; here containers get the stack host, which is "+
			"made of the machine's own /usr. warden.rootfs names another", w.rootfs.path)
	}
	if !w.depot.given() {
		d.remark(0, "%s isn't set: Warden takes a place below its own folder then; here it is node.state's default",
			w.depot.path)
	}
	if w.uidStart.given() && !w.ownUIDs() {
		d.remark(w.uidStart.line, "%s: each container has %d user ids of its own, and they begin at node.uid_base",
			w.uidStart.path, uidsPerSlot)
	}
	if w.uidCount.given() {
		d.remark(w.uidCount.line, "%s: there are user ids for every container that network.pool has addresses for",
			w.uidCount.path)
	}
	if !w.releaseDelay.given() {
		d.remark(0, "%s isn't set: Warden lets addresses rest for 5 s; here they rest until the kernel has let go of "+
			"them", w.releaseDelay.path)
	}
	d.remark(0, "Warden needs no NATS, and its clients need none here: without a server the node serves them and goes "+
		"on trying nats.servers")
}
