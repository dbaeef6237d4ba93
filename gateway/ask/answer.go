package ask

import (
	"fmt"
	"time"
)

// Bounds of lists in answers. What is left out is counted.
const (
	MaxSessions = 64
	MaxMoments  = 64
	MaxNames    = 50
	MaxVerdicts = 200
	MaxRecords  = 64
)

// Gateway is what one gateway knows about a user. Positions are sequences of the log's shard, and mean something in its epoch only.
type Gateway struct {
	Pod     string    `json:"pod"`
	Started time.Time `json:"started"`
	Leaving bool      `json:"leaving,omitempty"`
	Error   string    `json:"error,omitempty"` // why the rest is missing, or not complete

	Shard int    `json:"shard"`
	Epoch uint64 `json:"epoch"`
	Head  uint64 `json:"head"` // it has read the log up to here

	Sessions []Session `json:"sessions,omitempty"`
	More     int       `json:"more,omitempty"` // sessions that are left out

	// Moments are the latest of this user, oldest first. What was before Remembers is forgotten.
	Moments   []Moment  `json:"moments,omitempty"`
	Remembers time.Time `json:"remembers"`
}

// Session is one open connection.
type Session struct {
	ID       string   `json:"id"` // as in its welcome
	Dialect  string   `json:"dialect"`
	State    string   `json:"state"`
	Position uint64   `json:"position"` // its socket has taken everything up to here
	Epoch    uint64   `json:"epoch"`    // that the position is of; 0: of one that is gone
	Queue    int      `json:"queue,omitempty"`
	Stuck    int      `json:"stuck,omitempty"` // seconds for which the socket has taken nothing
	Groups   []string `json:"groups,omitempty"`
}

// Moments of a session.
const (
	Began  = "began"
	Reset  = "reset"
	Closed = "closed"
)

// Moment is something that happened to a session.
type Moment struct {
	At      time.Time `json:"at"`
	What    string    `json:"what"`
	Session string    `json:"session"`
	Word    string    `json:"word"`  // what became of its cursor; the cause of the reset; the reason of the close
	Epoch   uint64    `json:"epoch"` // that From and To are of; 0: of one that is gone

	From uint64 `json:"from,omitempty"` // reset: everything behind this, up to To, was not sent
	To   uint64 `json:"to"`             // began: it starts behind this; reset: it goes on behind this; closed: it has everything up to this
}

// ParseGateway reads an answer. Errors wrap ErrMessage.
func ParseGateway(b []byte) (a Gateway, err error) {
	err = parse(b, MaxAnswer, &a)
	if err == nil && a.Pod == "" {
		err = fmt.Errorf("%w: it does not say whose it is", ErrMessage)
	}
	return a, err
}

// Fanout is what the rules of one fanout say about an event.
type Fanout struct {
	Pod      string    `json:"pod"`
	Error    string    `json:"error,omitempty"` // why there are no verdicts
	File     bool      `json:"file"`            // it has a rules file
	Verdicts []Verdict `json:"verdicts,omitempty"`
	More     int       `json:"more,omitempty"` // verdicts that are left out
}

// Outcomes of a rule.
const (
	Matched = "matched" // it makes a notification
	Subject = "subject" // its pattern does not fit
	When    = "when"    // its condition is false
	Nobody  = "nobody"  // it matches, and its audience is empty
	Failed  = "failed"  // an expression failed: the event goes to the DLQ
)

// Verdict is what one rule says about an event.
type Verdict struct {
	Rule    string `json:"rule"`
	Outcome string `json:"outcome"`
	Why     string `json:"why,omitempty"` // the pattern, the condition, or the error

	// The audience.
	All          bool     `json:"all,omitempty"`
	Users        int      `json:"users,omitempty"` // so many are listed
	Names        []string `json:"names,omitempty"` // the first of them
	Groups       []string `json:"groups,omitempty"`
	ExceptGroups []string `json:"exceptGroups,omitempty"`
	ExceptUsers  int      `json:"exceptUsers,omitempty"`
	Listed       bool     `json:"listed,omitempty"`   // the user asked about is listed
	Excepted     bool     `json:"excepted,omitempty"` // the user asked about is taken out

	Records     []Record `json:"records,omitempty"` // that it makes
	MoreRecords int      `json:"moreRecords,omitempty"`
}

// Record names an entry of the log.
type Record struct {
	Shard   int    `json:"shard"`
	Subject string `json:"subject"`
	ID      string `json:"id"` // its Nats-Msg-Id
}

// ParseFanout reads an answer. Errors wrap ErrMessage.
func ParseFanout(b []byte) (a Fanout, err error) {
	err = parse(b, MaxAnswer, &a)
	if err == nil && a.Pod == "" {
		err = fmt.Errorf("%w: it does not say whose it is", ErrMessage)
	}
	return a, err
}
