package ingest

import "errors"

// Whoever handles an event says with one of these whether trying again could help; Source turns the answer into an
// acknowledgement. Any other error is tried again a few times with back-off.
var (
	// ErrPermanent: this event can never be handled. It goes to the DLQ at once.
	ErrPermanent = errors.New("permanent")

	// ErrUnavailable: NATS is gone, or cannot store at the moment. The event is retried without limit.
	ErrUnavailable = errors.New("unavailable")
)

// Permanent marks err as permanent: errors.Is(result, ErrPermanent) holds, the text is err's. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanent{err}
}

type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

func (permanent) Is(target error) bool { return target == ErrPermanent }
