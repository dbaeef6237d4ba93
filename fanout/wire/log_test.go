package wire

import (
	"fmt"
	"hash/fnv"
	"testing"
	"time"
)

// Where a user's Records lie is written in every log: these values can never change.
func TestPlaceOfUser(t *testing.T) {
	tests := []struct {
		user                      string
		of2, of4, of64, partition int
	}{
		{"alice", 1, 3, 39, 13},
		{"bob", 0, 0, 20, 12},
		{"", 1, 1, 5, 2},
		{"小明", 1, 3, 63, 13},
		{"42", 1, 3, 3, 3},
		{"6f9619ff-8b86-d011-b42d-00c04fc964ff", 1, 1, 49, 4},
	}
	for _, tt := range tests {
		got := [4]int{Shard(tt.user, 2), Shard(tt.user, 4), Shard(tt.user, 64), Partition(tt.user)}
		if want := [4]int{tt.of2, tt.of4, tt.of64, tt.partition}; got != want {
			t.Errorf("%q: got shards of 2, 4, 64 and partition %v, want %v", tt.user, got, want)
		}
		if got := Shard(tt.user, 1); got != 0 {
			t.Errorf("%q: got shard %d of 1, want 0", tt.user, got)
		}
		h32, h64 := fnv.New32a(), fnv.New64a()
		h32.Write([]byte(tt.user))
		h64.Write([]byte(tt.user))
		if got, want := Shard(tt.user, 1000), int(h32.Sum32()%1000); got != want {
			t.Errorf("%q: got shard %d of 1000, want %d by hash/fnv", tt.user, got, want)
		}
		h := h64.Sum64()
		h = (h ^ h>>33) * 0xff51afd7ed558ccd
		if got, want := Partition(tt.user), int((h^h>>33)%Partitions); got != want {
			t.Errorf("%q: got partition %d, want %d by hash/fnv", tt.user, got, want)
		}
	}
}

// Users spread evenly over shards, and those of one shard over its partitions, also where IDs are merely counted up.
func TestSpread(t *testing.T) {
	tests := map[string]string{
		"UUID":   "%08x-8b86-4011-b42d-00c04fc964ff",
		"mail":   "u%d@example.com",
		"number": "%d",
		"padded": "%012d",
		"prefix": "user-%d",
		"CJK":    "用户%d",
	}
	const users, shards = 64_000, 4
	for name, form := range tests {
		t.Run(name, func(t *testing.T) {
			var count [shards][Partitions]float64
			for i := range users {
				n := uint32(i)
				if name == "UUID" {
					n *= 2654435761 // a permutation that looks random
				}
				u := fmt.Sprintf(form, n)
				count[Shard(u, shards)][Partition(u)] += 1. / users
			}
			for s := range count {
				var sum float64
				for p, part := range count[s] {
					sum += part
					if r := part * shards * Partitions; r < 0.85 || r > 1.15 {
						t.Errorf("shard %d, partition %d: got %.2f of the mean, want 0.85 to 1.15", s, p, r)
					}
				}
				if r := sum * shards; r < 0.97 || r > 1.03 {
					t.Errorf("shard %d: got %.2f of the mean, want 0.97 to 1.03", s, r)
				}
			}
		})
	}
}

func TestNames(t *testing.T) {
	tests := []struct{ got, want string }{
		{Stream(0), "LOG_0"},
		{Stream(63), "LOG_63"},
		{Subject(3, 15), "log.3.15"},
		{MixedSubject(3), "log.3.m"},
		{Users.String(), "users"},
		{Group.String(), "group"},
		{All.String(), "all"},
		{Kind(7).String(), "kind 7"},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}

func TestEpoch(t *testing.T) {
	created := time.UnixMilli(1767322245678)
	tests := map[string]struct {
		metadata map[string]string
		want     uint64
	}{
		"never raised": {nil, 1767322245678},
		"raised twice": {map[string]string{MetaEpoch: "2"}, 1767322245680},
		"not a number": {map[string]string{MetaEpoch: "two"}, 1767322245678},
	}
	for name, tt := range tests {
		if got := Epoch(created, tt.metadata); got != tt.want {
			t.Errorf("%s: got %d, want %d", name, got, tt.want)
		}
	}
}
