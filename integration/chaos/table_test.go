//go:build linux

package chaos

import (
	"fmt"
	"os"
	"strings"
	"time"

	"tidings/integration/machine"
)

// table is what the README shows.
func (s *suite) table(where machine.Machine, all time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", where.Line("all processes, tabs and publisher"))
	fmt.Fprintf(&b, "`%s`, %.0f s: %d gateways, %d tabs of %d users, %d NATS servers, %d fanouts, %d events/s; %d events, %d publishes tried again; heartbeat %v.\n\n",
		where.Command, all.Seconds(), gateways, len(s.tabs), len(s.world.users), servers, fanouts, *perSec, s.world.count(), s.flow.retries.Load(), heartbeat)
	b.WriteString("| | took | events | deliveries | lost | repeated | out of order | resets | worst wait | handshakes/s | |\n")
	b.WriteString("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |\n")
	for _, r := range s.rows {
		b.WriteString(r.line() + "\n")
	}
	if text := ratio(s.rows); text != "" {
		b.WriteString("\n" + text + "\n")
	}
	return b.String()
}

func (r *row) line() string {
	name, wait := r.name, "–"
	if r.runs > 1 {
		name = fmt.Sprintf("%s (%d times)", name, r.runs)
	}
	if r.wait > 0 {
		wait = fmt.Sprintf("%.1f s", r.wait.Seconds())
	}
	return fmt.Sprintf("| %s | %.0f s | %d | %d | %d | %d | %d | %d | %s | %d | %s |", name, r.took.Seconds(), r.events, r.deliveries,
		r.found[lost], r.found[repeated], r.found[disordered], r.found[resets], wait, r.peak, strings.Join(r.remarks, "; "))
}

// ratio compares a rollout that is spread with those in which everyone comes back at once.
func ratio(rows []*row) string {
	peaks := map[string]int{}
	for _, r := range rows {
		peaks[r.name] = r.peak
	}
	rolled, atOnce, killed := peaks[faults[1].name], peaks[rollAtOnce.name], peaks[killName]
	if rolled == 0 || atOnce == 0 || killed == 0 {
		return ""
	}
	times := func(n int) float64 { return float64(n) / float64(rolled) }
	return fmt.Sprintf("In the rollout that is spread over %v for each gateway, one that stays saw at most %d handshakes in a second; where each leaves at once %d, **%.1f times** as many, and where it is killed %d, **%.1f times**.",
		spread, rolled, atOnce, times(atOnce), killed, times(killed))
}

// The table stands between these marks.
const (
	tableBegins = "<!-- chaos -->\n"
	tableEnds   = "<!-- /chaos -->"
)

// writeTable puts it there.
func writeTable(path, text string) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok1 := strings.Cut(string(old), tableBegins)
	_, after, ok2 := strings.Cut(rest, tableEnds)
	if !ok1 || !ok2 {
		return fmt.Errorf("%s has no place for the table, between %s and %s", path, strings.TrimSpace(tableBegins), tableEnds)
	}
	return os.WriteFile(path, []byte(before+tableBegins+"\n"+text+"\n"+tableEnds+after), 0o644)
}
