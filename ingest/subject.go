package ingest

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Partitions is the number of parts that the aggregates are spread over. Subjects too short to have an aggregate, "events.a" and
// "events.a.b", lie in one more part of their own.
const Partitions = 16

const (
	publishedPrefix = "events."
	storedPrefix    = "ev."

	// The stream puts the partition in front when it stores an event. Partition hashes tokens 2 and 3, so that all
	// events of one aggregate lie in one partition, and in order.
	transformSource = "events.*.*.>"
	transformTarget = "ev.{{partition(16,1,2)}}.{{wildcard(1)}}.{{wildcard(2)}}.>"
)

// maxSubject leaves room for what is put in front of a subject; the server takes control lines up to 4,096 bytes.
const maxSubject = 1024

// filter is what the consumer of partition p reads; p == Partitions are the short subjects, which keep theirs.
func filter(p int) string {
	if p == Partitions {
		return "events.>"
	}
	return fmt.Sprintf("ev.%d.>", p)
}

// Published is the subject an event was published on, given the one it is stored under.
func Published(stored string) string {
	rest, ok := strings.CutPrefix(stored, storedPrefix)
	if !ok {
		return stored
	}
	_, rest, ok = strings.Cut(rest, ".")
	if !ok {
		return stored
	}
	return publishedPrefix + rest
}

// Aggregate is what the order of events is kept for: tokens 2 and 3 of the published subject, "orders.1042" for
// events.orders.1042.shipped, or the whole of a subject too short to have them.
func Aggregate(published string) string {
	if rest, ok := strings.CutPrefix(published, publishedPrefix); ok {
		if aggregate, ok := twoTokens(rest); ok {
			return aggregate
		}
	}
	return published
}

// storedAggregate is Aggregate(Published(stored)), without a copy where it is a part of stored.
func storedAggregate(stored string) string {
	if rest, ok := strings.CutPrefix(stored, storedPrefix); ok {
		_, rest, _ = strings.Cut(rest, ".")
		if aggregate, ok := twoTokens(rest); ok {
			return aggregate
		}
	}
	return Aggregate(Published(stored))
}

// twoTokens are the first two of three or more.
func twoTokens(subject string) (two string, ok bool) {
	first := strings.IndexByte(subject, '.')
	if first < 0 {
		return "", false
	}
	second := strings.IndexByte(subject[first+1:], '.')
	if second < 0 {
		return "", false
	}
	return subject[:first+1+second], true
}

// CheckSubject tells in one sentence why an event cannot be published on subject.
func CheckSubject(subject string) error {
	rest, ok := strings.CutPrefix(subject, publishedPrefix)
	switch {
	case !ok || rest == "":
		return fmt.Errorf("subject %q: events are published on subjects that begin with \"events.\", as events.orders.1042.shipped", subject)
	case len(subject) > maxSubject:
		return fmt.Errorf("subject of %d bytes: at most %d are allowed", len(subject), maxSubject)
	case !utf8.ValidString(subject):
		return fmt.Errorf("subject %q is not UTF-8", subject)
	}
	for token := range strings.SplitSeq(rest, ".") {
		switch {
		case token == "":
			return fmt.Errorf("subject %q has an empty part between two dots, or ends with a dot", subject)
		case token == "*" || token == ">":
			return fmt.Errorf("subject %q has the wildcard %s: an event is published on one subject, not on many", subject, token)
		case strings.ContainsFunc(token, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }):
			return fmt.Errorf("subject %q has white space or a control character", subject)
		}
	}
	return nil
}
