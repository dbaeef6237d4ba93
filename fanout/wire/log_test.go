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
		{"alice", 1, 3, 39, 11},
		{"bob", 0, 0, 20, 9},
		{"", 1, 1, 5, 4},
		{"小明", 1, 3, 63, 8},
		{"42", 1, 3, 3, 7},
		{"6f9619ff-8b86-d011-b42d-00c04fc964ff", 1, 1, 49, 12},
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
		if got, want := Partition(tt.user), int(h64.Sum64()>>32%Partitions); got != want {
			t.Errorf("%q: got partition %d, want %d by hash/fnv", tt.user, got, want)
		}
	}
}

// Users spread evenly over shards. Those of one shard spread evenly over its partitions when their IDs differ in more than
// the last few characters; IDs that are merely counted up meet a weakness of FNV, and the fullest partition has twice its part.
func TestSpread(t *testing.T) {
	tests := map[string]struct {
		form  string
		least float64 // users in a partition, as a part of the mean
		most  float64
	}{
		"UUID":   {"%08x-8b86-4011-b42d-00c04fc964ff", 0.9, 1.1},
		"mail":   {"u%d@example.com", 0.9, 1.1},
		"number": {"%d", 0.3, 2},
		"padded": {"%012d", 0.2, 2},
		"prefix": {"user-%d", 0.1, 2.2},
		"CJK":    {"用户%d", 0.2, 1.6},
	}
	const users, shards = 64_000, 4
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var count [shards][Partitions]float64
			for i := range users {
				n := uint32(i)
				if name == "UUID" {
					n *= 2654435761 // a permutation that looks random
				}
				u := fmt.Sprintf(tt.form, n)
				count[Shard(u, shards)][Partition(u)] += 1. / users
			}
			for s := range count {
				var sum float64
				for p, part := range count[s] {
					sum += part
					if r := part * shards * Partitions; r < tt.least || r > tt.most {
						t.Errorf("shard %d, partition %d: got %.2f of the mean, want %.2f to %.2f", s, p, r, tt.least, tt.most)
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
