package k8s

import (
	"testing"
	"time"
)

// closing is how long sockets have at last, behind the window.
const closing = 10 * time.Second

// README.md, "Drain numbers that must agree".
func TestDrainNumbersAgree(t *testing.T) {
	forEach(t, func(t *testing.T, all rendered) {
		gateway := tidings(t, all)["gateway"]
		env := environment(t, all, gateway)
		seconds := func(name string) time.Duration {
			d, err := time.ParseDuration(env[name])
			if err != nil || d <= 0 {
				t.Fatalf("%s is %q, want a duration", name, env[name])
			}
			return d
		}
		delay, window, grace := seconds("TIDINGS_DRAIN_DELAY"), seconds("TIDINGS_DRAIN_WINDOW"), seconds("TIDINGS_GRACE_PERIOD")
		sleep := time.Duration(gateway.container().Lifecycle.PreStop.Sleep.Seconds) * time.Second
		whole := time.Duration(*gateway.spec().TerminationGracePeriodSeconds) * time.Second
		if delay+window+closing > grace {
			t.Errorf("delay %v, window %v and %v for the rest do not fit into TIDINGS_GRACE_PERIOD %v", delay, window, closing, grace)
		}
		if sleep+grace != whole {
			t.Errorf("preStop %v and TIDINGS_GRACE_PERIOD %v are not terminationGracePeriodSeconds %v, whose clock begins with preStop", sleep, grace, whole)
		}
		ready := gateway.container().ReadinessProbe
		if noticed := time.Duration(ready.PeriodSeconds*ready.FailureThreshold) * time.Second; sleep+delay < noticed {
			t.Errorf("sockets are closed after %v, and readiness is noticed after %v", sleep+delay, noticed)
		}
		if fanout := tidings(t, all)["fanout"]; *fanout.spec().TerminationGracePeriodSeconds < 20 {
			t.Errorf("fanout has %d s, want 10 s for events in hand, and as much again", *fanout.spec().TerminationGracePeriodSeconds)
		}
	})
}
