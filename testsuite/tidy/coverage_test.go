package tidy

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// coverage is the list of what Warden's and the DEA's wires are known to be, and of
// the test that holds each of it.
const coverage = "docs/wire-coverage.md"

// coverageSections are the parts of wire/warden.md, "top" the behaviours that are
// most easily got wrong, and the parts of wire/dea.md but for staging.
var coverageSections = strings.Fields(`top a b c d e f g h i j
	dea_a1 dea_a2 dea_a3 dea_a4 dea_a5 dea_a6 dea_a7 dea_a8 dea_a9 dea_a10 dea_a11 dea_a12
	dea_b1 dea_b2 dea_b3 dea_b4 dea_b5 dea_b6 dea_b7 dea_b8 dea_d1 dea_d2 dea_e dea_f dea_g dea_h`)

const (
	topRows        = 25
	reasonWordsMin = 4 // where there is no test
)

var (
	coverageRow    = regexp.MustCompile(`^\| (\w+)\.(\d+) \|`)
	coverageProof  = regexp.MustCompile("`((?:Test|Fuzz)\\w+)`|\\(([a-z]+(?:/[a-z0-9_]+)*)\\)")
	coverageReason = regexp.MustCompile(`\bNone: (.+)$`)
)

// TestEveryRowOfTheWiresHasATestOrAReason fails for a row without either, for
// a test that is gone or elsewhere, and for a row that was taken out.
func TestEveryRowOfTheWiresHasATestOrAReason(t *testing.T) {
	declared := map[string][]string{} // by folder
	for _, s := range tree(t) {
		if s.isTest() {
			declared[s.folder] = append(declared[s.folder], s.names()...)
		}
	}
	body, err := read(coverage)
	if err != nil {
		t.Fatal(err)
	}
	counted, number := map[string]int{}, 0
	for line := range strings.Lines(string(body)) {
		number++
		m := coverageRow.FindStringSubmatch(line)
		if m == nil {
			if strings.HasPrefix(line, "|") && !strings.HasPrefix(line, "|---") && !strings.HasPrefix(line, "| row |") {
				t.Errorf("%s:%d: the line is no row", coverage, number)
			}
			continue
		}
		if counted[m[1]]++; m[2] != strconv.Itoa(counted[m[1]]) {
			t.Errorf("%s:%d: %s.%s is row %d of its section", coverage, number, m[1], m[2], counted[m[1]])
		}
		for _, wrong := range wrongWith(line, declared) {
			t.Errorf("%s:%d: %s.%s: %s", coverage, number, m[1], m[2], wrong)
		}
	}
	for _, section := range coverageSections {
		if counted[section] == 0 {
			t.Errorf("%s: section %s has no row", coverage, section)
		}
		delete(counted, section)
	}
	for section := range counted {
		t.Errorf("%s: no wire has a section %s", coverage, section)
	}
}

func TestTheListOfWhatIsEasilyGotWrongIsWhole(t *testing.T) {
	body, err := read(coverage)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(body), "\n| top."); n != topRows {
		t.Errorf("%s: %d rows of what is easily got wrong; there are %d", coverage, n, topRows)
	}
}

// wrongWith says what is wrong with a row: "| a.1 | the fact | `TestThis`,
// `TestThat` (the/folder) |", or the reason instead: "None: because of that".
func wrongWith(row string, declared map[string][]string) (wrong []string) {
	cells := strings.Split(strings.TrimSpace(row), " | ")
	const cellsOfARow = 3
	if len(cells) != cellsOfARow || !strings.HasSuffix(cells[2], " |") {
		return []string{"a row has a number, a fact, and a test or a reason"}
	}
	proof := strings.TrimSuffix(cells[2], " |")
	var named []string
	tests := 0
	for _, m := range coverageProof.FindAllStringSubmatch(proof, -1) {
		if m[1] != "" {
			named = append(named, m[1])
			tests++
			continue
		}
		for _, name := range named {
			if !slices.Contains(declared[m[2]], name) {
				wrong = append(wrong, m[2]+" has no "+name)
			}
		}
		named = nil
	}
	if len(named) > 0 {
		wrong = append(wrong, "where is "+strings.Join(named, ", ")+"? Its folder follows in parentheses")
	}
	reason := coverageReason.FindStringSubmatch(proof)
	switch {
	case tests == 0 && reason == nil:
		wrong = append(wrong, "it has neither a test nor a reason")
	case reason != nil && len(strings.Fields(reason[1])) < reasonWordsMin:
		wrong = append(wrong, "what is that for a reason: "+reason[1])
	}
	return wrong
}

// The check must be able to fail.
func TestARowWithoutProofIsNoticed(t *testing.T) {
	declared := map[string][]string{"agent": {"TestThis"}}
	for row, ok := range map[string]bool{
		"| a.1 | a fact | `TestThis` (agent) |\n":                                       true,
		"| a.1 | a fact | None: nobody can see it from outside |\n":                     true,
		"| a.1 | a fact | `TestThis` (agent). Differs: it was of no use to anybody |\n": true,
		"| a.1 | a fact |  |\n":                                     false,
		"| a.1 | a fact | later |\n":                                false,
		"| a.1 | a fact | `TestThat` (agent) |\n":                   false,
		"| a.1 | a fact | `TestThis` |\n":                           false,
		"| a.1 | a fact | `TestThis` (actors) |\n":                  false,
		"| a.1 | a fact | None: later |\n":                          false,
		"| a.1 | a fact | Differs: it was of no use to anybody |\n": false,
		"| a.1 | `TestThis` (agent) |\n":                            false,
	} {
		if wrong := wrongWith(row, declared); (len(wrong) == 0) != ok {
			t.Errorf("%s: %q", row, wrong)
		}
	}
}
