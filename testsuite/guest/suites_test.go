//go:build guest

package guest

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// suite is what one guest runs, package by package.
type suite []tests

// tests are those of one package: all, or the named ones, without the left out.
// With -short only the brief ones run, on v2 alone.
type tests struct {
	pkg     string
	named   []string
	brief   []string
	leftOut []leftOut
}

// leftOut is a test that is not run inside, and why not. The guest says so as
// well, and docs/skips.md lists it.
type leftOut struct{ name, why string }

// lives are the packages of the isolation layer that need a disk or more of the
// kernel than the first guest has. The box has the containers' lives, and the
// calls of Warden's on them: limits, copies, traffic, accounts, jobs.
var lives = suite{
	{pkg: "isolation/cgroup"}, {pkg: "isolation/disk", brief: []string{"TestAQuotaGrowsAndShrinksUnderAWriter"}},
	{pkg: "isolation/rootfs"},
	{pkg: "agent/chaos", named: []string{"TestAGroupIsDissolvedThoughTheOneAboveTakesNobody"}},
	{pkg: "isolation/box", brief: []string{
		"TestTheInsideIsTheContainersOwn", "TestMemoryAndProcessesAreBounded", "TestASuccessorFindsWhatRunsAndHowItEnded",
		"TestLimitsAreChangedWhileNothingRunsAndHoldForASuccessor", "TestStatsAreWhatTheJobsDid", "TestLimitsAreOneJobsAlone",
		"TestAnUnlimitedContainerThatIsLimitedTellsOfItsKills", "TestACancelledCreateLeavesNothing",
	}, leftOut: []leftOut{
		{"TestThousandsOfJobsLeaveNothingInPID1", "2,000 jobs take more than two minutes of an emulated processor"},
	}},
}

// nodes are whole nodes: NATS, the agent, its applications, Warden's clients.
var nodes = suite{{pkg: "testsuite/e2e", named: []string{
	// an application's life and its ends
	"TestAnApplicationStartsServesAndStops", "TestEveryEndIsToldInTheWiresWords", "TestAMemoryHogIsOutOfMemory",
	"TestAChildOutOfMemoryEndsTheInstance", "TestDiskIsLimited", "TestWhatAContainerSees",
	"TestARealServerWithUserPasswordAndTLS",
	// what is asked of it while it runs
	"TestACommandRunsBesideTheApplication", "TestHooksRunInTheApplicationsContainer",
	"TestAnUpdateReroutesWithoutARestart", "TestAnEvacuationLosesNoRequest", "TestTheRulesOfAStartMessageAreKept",
	"TestTheFilesOfAnInstanceAreServed", "TestTheLogsOfACrashedInstanceAreKept",
	// the agent's ends
	"TestDetachingHarmsNothingAndSaysNoGoodbye", "TestAKilledAgentLosesNothing",
	"TestAnAgentKilledInTheMiddleOfStartsGoesOnWithThem", "TestAnAgentKilledInTheMiddleOfAStopMakesNoCrashOfIt",
	"TestInitsAndTheLauncherMayBeKilled", "TestShuttingDownStopsEverythingAfterTheGoodbye",
	// Warden
	"TestAWardenClientRunsScripts", "TestWardensMemoryLimitIsKept", "TestLimitsReadBackAsTheyWereSet",
	"TestTheDisksLimitIsHardAndTheContainersOwn", "TestOutOfMemoryIsToldAndStops", "TestInfoCountsWhatJobsUse",
	"TestLimitsOfJobsAreTheRequestsAndThenTheConfigurations", "TestFilesAreCopiedInAndOut",
	"TestAKilledAgentLosesNoJobOfWardens", "TestASuccessorKeepsWhatClientsAsked",
}, brief: []string{
	"TestAnApplicationStartsServesAndStops", "TestEveryEndIsToldInTheWiresWords", "TestAMemoryHogIsOutOfMemory",
	"TestAKilledAgentLosesNothing", "TestAWardenClientRunsScripts", "TestWardensMemoryLimitIsKept",
}}}

func TestContainersLiveOnTheOldestKernel(t *testing.T) { lives.onEveryTree(t) }

func TestWholeNodesLiveOnTheOldestKernel(t *testing.T) { nodes.onEveryTree(t) }

func (s suite) onEveryTree(t *testing.T) {
	m := newMachine(t, s)
	kinds := []string{"v2", "v1"}
	if testing.Short() {
		kinds = kinds[:1]
	}
	for _, name := range kinds {
		t.Run(name, func(t *testing.T) { m.live(t, trees[name], s) })
	}
}

// lines are a line of shell for each package.
func (s suite) lines() string {
	var text strings.Builder
	for _, of := range s {
		skip := []string{"None"}
		for _, out := range of.leftOut {
			skip = append(skip, out.name)
			fmt.Fprintf(&text, "echo 'SKIPPED: %s: %s'\n", out.name, out.why)
		}
		named := of.named
		if testing.Short() && len(of.brief) > 0 {
			named = of.brief
		}
		if len(named) == 0 {
			named = []string{"Test.*"}
		}
		fmt.Fprintf(&text, "run %s '^(%s)$' '^(%s)$'\n",
			filepath.Base(of.pkg), strings.Join(named, "|"), strings.Join(skip, "|"))
	}
	return text.String()
}
