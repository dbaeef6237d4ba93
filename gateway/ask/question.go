package ask

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"

	"tidings/fanout/wire"
)

// The subjects of questions. Every gateway answers the first, every fanout the second.
const (
	SubjectWho   = "control.ask.who"
	SubjectRules = "control.ask.rules"
)

// MetaPod, in the metadata of a gateway's consumer on the log, names the gateway. Whoever asks learns from it whose answers to wait for.
const MetaPod = "tidings-pod"

// Bounds of messages, in bytes.
const (
	MaxQuestion = 4 << 10
	MaxAnswer   = 512 << 10
)

// ErrMessage is wrapped by every error about the bytes of a question or an answer.
var ErrMessage = errors.New("bad message")

// Who asks every gateway for its sessions of a user.
type Who struct {
	User string `json:"user"`
}

// Rules asks a fanout what its rules say about the event that EVENTS has under a sequence, and whether a user is concerned.
type Rules struct {
	Sequence uint64 `json:"sequence"`
	User     string `json:"user,omitempty"` // "": nobody in particular
}

// ParseWho reads a question. Errors wrap ErrMessage.
func ParseWho(b []byte) (q Who, err error) {
	if err = parse(b, MaxQuestion, &q); err != nil {
		return q, err
	}
	return q, checkUser(q.User)
}

// ParseRules reads a question. Errors wrap ErrMessage.
func ParseRules(b []byte) (q Rules, err error) {
	if err = parse(b, MaxQuestion, &q); err != nil {
		return q, err
	}
	switch {
	case q.Sequence == 0:
		return q, fmt.Errorf("%w: no sequence", ErrMessage)
	case q.User != "":
		return q, checkUser(q.User)
	}
	return q, nil
}

func checkUser(user string) error {
	if err := wire.CheckUser(user); err != nil {
		return fmt.Errorf("%w: %w", ErrMessage, err)
	}
	return nil
}

func parse(b []byte, most int, into any) error {
	if len(b) > most {
		return fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrMessage, len(b), most)
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("%w: %w", ErrMessage, err)
	}
	return nil
}

// PodName names this process among all: the host's name, which is the pod's on Kubernetes, and the process id, which tells several on one
// machine apart.
func PodName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return host + "/" + strconv.Itoa(os.Getpid())
}
