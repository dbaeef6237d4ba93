package wire

import (
	"strconv"
	"time"
)

// Partitions is the number of user partitions in a shard. A Record whose recipients all lie in one of them is stored under
// that partition's subject, so that a resume from the log reads a sixteenth of it and the mixed Records, not all.
const Partitions = 16

// MetaEpoch and MetaShards are keys in the metadata of a log stream. MetaEpoch counts the times that the end of the log
// may have been cut (a power loss on a single node); MetaShards is the number of shards the log was made with.
const (
	MetaEpoch  = "tidings-epoch"
	MetaShards = "tidings-shards"
)

// HeaderTrace is the header of a Record that is traced: the W3C traceparent of the span that stored it. A Record without it is not.
const HeaderTrace = "traceparent"

// Stream is the name of shard s's stream.
func Stream(s int) string { return "LOG_" + strconv.Itoa(s) }

// Subject is where Records go whose recipients all lie in user partition p of shard s.
func Subject(s, p int) string { return "log." + strconv.Itoa(s) + "." + strconv.Itoa(p) }

// MixedSubject is where all other Records of shard s go: several partitions, a group, all.
func MixedSubject(s int) string { return "log." + strconv.Itoa(s) + ".m" }

// Shard is the shard of a user: FNV-1a, 32 bits, modulo the number of shards.
func Shard(user string, shards int) int {
	h := uint32(2166136261)
	for i := range len(user) {
		h = (h ^ uint32(user[i])) * 16777619
	}
	return int(h % uint32(shards))
}

// Partition is the user's partition within the shard: FNV-1a, 64 bits, mixed once more (the middle of MurmurHash3's finalizer),
// modulo Partitions. It is a second hash, so that the users of one shard still spread over all partitions; unmixed, IDs that are
// counted up would fill the partitions with 0.1 to 2.1 times the mean, mixed with 0.92 to 1.08.
func Partition(user string) int {
	h := uint64(14695981039346656037)
	for i := range len(user) {
		h = (h ^ uint64(user[i])) * 1099511628211
	}
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	return int(h % Partitions)
}

// Epoch tells one incarnation of a log stream from another: the stream's time of creation in milliseconds plus the
// count under MetaEpoch in its metadata. Sequences of different epochs have nothing to do with each other.
func Epoch(created time.Time, metadata map[string]string) uint64 {
	n, _ := strconv.ParseUint(metadata[MetaEpoch], 10, 32) // absent: never raised
	return uint64(created.UnixMilli()) + n
}

// ControlStream keeps what operators said that must hold for gateways that start later: SubjectRevoke.
const (
	ControlStream = "CONTROL"
	SubjectRevoke = "control.revoke"
)
